% NOT RUN. Written from the documentation of R2026a, with compressNetworkUsingTaylorPruning. It needs Deep Learning
% Toolbox and the add-on Model Compression Library. digits.mat holds XTrain, XValidation, XTest (8-by-8-by-1-by-N) and
% TTrain, TValidation, TTest (categorical), divided as for the others.
rng(0);
load("digits.mat");

layers = imageInputLayer([8 8 1], Normalization="none");
widths = [32 64 128];
for stage = 1:numel(widths)
    if stage > 1
        layers = [layers; maxPooling2dLayer(2, Stride=2)];
    end
    for index = 1:2
        layers = [layers
            convolution2dLayer(3, widths(stage), Padding="same")
            batchNormalizationLayer
            reluLayer];
    end
end
layers = [layers
    globalAveragePooling2dLayer
    fullyConnectedLayer(10)
    softmaxLayer];

options = trainingOptions("sgdm", Momentum=0.9, InitialLearnRate=0.01, L2Regularization=5e-4, MaxEpochs=20, ...
    MiniBatchSize=64, Shuffle="every-epoch", ExecutionEnvironment="cpu", Verbose=false);
dense = trainnet(XTrain, TTrain, dlnetwork(layers), "crossentropy", options);

total = countLearnables(dense);
lowest = testnet(dense, XValidation, TValidation, "accuracy") - 1;    % in percent
options.MaxEpochs = 3;
net = dense;
history = table();
for iteration = 1:10
    aim = 0.9*(1 - (1 - iteration/10)^3);                               % of the dense network
    goal = 1 - (1 - aim)*total/countLearnables(net);                    % of what is left
    if goal <= 0
        continue
    end
    [netPruned, info] = compressNetworkUsingTaylorPruning(net, XTrain, TTrain, "crossentropy", options, ...
        LearnablesReductionGoal=goal, LearnablesReductionIncrement=goal);
    accuracy = testnet(netPruned, XValidation, TValidation, "accuracy");
    if accuracy < lowest
        break
    end
    net = netPruned;
    history = [history; table(iteration, 1 - countLearnables(net)/total, accuracy)];
end
options.MaxEpochs = 5;
net = trainnet(XTrain, TTrain, net, "crossentropy", options);

save("dense.mat", "dense");
save("pruned.mat", "net");
writetable(history, "history.csv");
writetable(estimateNetworkMetrics(net), "layers.csv");
sizes = [dir("dense.mat").bytes; dir("pruned.mat").bytes];
params = [total; countLearnables(net)];
accuracy = [testnet(dense, XTest, TTest, "accuracy"); testnet(net, XTest, TTest, "accuracy")];
seconds = [timeit(@() predict(dense, XTest(:,:,:,1:32))); timeit(@() predict(net, XTest(:,:,:,1:32)))];
writetable(table(["dense"; "pruned"], accuracy, params, sizes, seconds), "metrics.csv");

function number = countLearnables(net)
    number = sum(cellfun(@numel, net.Learnables.Value));
end
