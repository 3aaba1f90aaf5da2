% NOT RUN. Written from the documentation of R2026a, with taylorPrunableNetwork: what takes the place of the loop in
% prune_digits.m where a network cannot be trained by trainnet. Filters are counted, not parameters.
mbqTrain = minibatchqueue(combine(arrayDatastore(XTrain, IterationDimension=4), arrayDatastore(TTrain)), ...
    MiniBatchSize=64, MiniBatchFcn=@preprocessMiniBatch, MiniBatchFormat=["SSCB" "CB"]);

prunableNet = taylorPrunableNetwork(dense);
velocity = [];
for pruningIteration = 1:30
    for epoch = 1:3
        shuffle(mbqTrain);
        while hasdata(mbqTrain)
            [X, T] = next(mbqTrain);
            [loss, pruningActivations, pruningGradients, netGradients, state] = ...
                dlfeval(@modelLossPruning, prunableNet, X, T);
            prunableNet.State = state;
            [prunableNet, velocity] = sgdmupdate(prunableNet, netGradients, velocity, 0.01, 0.9);
            prunableNet = updateScore(prunableNet, pruningActivations, pruningGradients);
        end
    end
    previous = prunableNet;
    prunableNet = updatePrunables(prunableNet, MaxToPrune=8);
    if accuracyOf(prunableNet, XValidation, TValidation) < lowest
        prunableNet = previous;
        break
    end
end
net = dlnetwork(prunableNet);

function [loss, pruningActivations, pruningGradients, netGradients, state] = modelLossPruning(prunableNet, X, T)
    [Y, state, pruningActivations] = forward(prunableNet, X);
    loss = crossentropy(Y, T);
    [netGradients, pruningGradients] = dlgradient(loss, prunableNet.Learnables, pruningActivations);
end

function [X, T] = preprocessMiniBatch(XCell, TCell)
    X = cat(4, XCell{:});
    T = onehotencode(cat(2, TCell{:}), 1);
end

function accuracy = accuracyOf(prunableNet, X, T)
    [~, index] = max(extractdata(predict(prunableNet, dlarray(single(X), "SSCB"))), [], 1);
    classes = categories(T);
    accuracy = 100*mean(categorical(classes(index)) == T(:));
end
