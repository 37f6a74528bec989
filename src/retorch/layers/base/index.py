"""Which file under ``layers/`` has the rule for a Torch class: ``tools/layer_index.py`` writes it."""

_NAMES = {
    "activation": """
        cudnn.ClippedReLU cudnn.ReLU cudnn.ReLUInPlace cudnn.Sigmoid cudnn.Tanh fbnn.LeakyReLU nn.CReLU nn.Clamp nn.Clip
        nn.DeconvnetReLU nn.ELU nn.GatedLinearUnit nn.GuidedReLU nn.HardShrink nn.HardTanh nn.LeakyReLU nn.LogSigmoid
        nn.PReLU nn.RReLU nn.ReLU nn.ReLU6 nn.Sigmoid nn.SoftPlus nn.SoftShrink nn.SoftSign nn.Tanh nn.TanhShrink
        nn.Threshold w2nn.LeakyReLU
    """,
    "arithmetic": """
        nn.Abs nn.Add nn.AddConstant nn.CAdd nn.CMul nn.Constant nn.Exp nn.Log nn.Minus nn.Mul nn.MulConstant nn.Power
        nn.SAdd nn.Sqrt nn.Square
    """,
    "container": """
        LayerNormalization nn.Bottle nn.Concat nn.ConcatTable nn.DepthConcat nn.HighwayLayer nn.LayerNorm nn.MapTable
        nn.Maxout nn.Parallel nn.ParallelTable nn.Sequential
    """,
    "convolution.full": """
        cudnn.SpatialFullConvolution cudnn.VolumetricFullConvolution nn.SpatialFullConvolution
        nn.SpatialFullConvolutionMap nn.SpatialFullDilatedConvolution nn.VolumetricFullConvolution
    """,
    "convolution.spatial": """
        cudnn.RandomBinaryConvolution cudnn.SpatialConvWP cudnn.SpatialConvolution cudnn.SpatialDilatedConvolution
        nn.MySpatialAveragePooling nn.RandomBinaryConvolution nn.SpatialClassifier nn.SpatialConvolution
        nn.SpatialConvolutionLocal nn.SpatialConvolutionMM nn.SpatialConvolutionMap nn.SpatialDepthWiseConvolution
        nn.SpatialDilatedConvolution nn.SpatialSubSampling w2nn.RandomBinaryConvolution
    """,
    "convolution.temporal": """
        cudnn.TemporalConvolution nn.TemporalConvolution nn.TemporalRowConvolution nn.TemporalSubSampling
    """,
    "convolution.volumetric": """
        cudnn.VolumetricConvolution cudnn.VolumetricDilatedConvolution nn.VolumetricConvolution
        nn.VolumetricDilatedConvolution
    """,
    "linear": """
        fbnn.NormalizedLinearNoBias nn.Bilinear nn.Cosine nn.Euclidean nn.Linear nn.LinearNB nn.LinearNoBackprop
        nn.LinearNoBackpropInput nn.LinearNoBias nn.LinearTHNN nn.LinearVA nn.LinearWP nn.LinearWeightNorm
        nn.PartialLinear nn.TensorProd nn.WeightedEuclidean
    """,
    "lookup": """
        Embedding GloVeEmbedding GloVeEmbeddingFixed LookupTableFixed OneHot fbnn.SparseLinear nn.Dictionary
        nn.FairLookupTable nn.FasterLookup nn.IndexLinear nn.LookupTable nn.LookupTableMaskZero nn.OneHot
        nn.SparseLinear
    """,
    "loss": """
        nn.CriterionTable nn.ModuleFromCriterion
    """,
    "nngraph": """
        nn.TripletNet nn.gModule nngraph.JustElement nngraph.JustTable
    """,
    "noise": """
        fbnn.Dropout fbnn.IndividualDropout fbnn.NestedDropout fbnn.ProjectiveGradientNormalization nn.BatchColor
        nn.BatchFlip nn.BatchRotate nn.BatchScale nn.Calibrate nn.Contiguous nn.Copy nn.Dropout nn.GaussianNoise
        nn.GradientRescale nn.GradientReversal nn.GradientScale nn.Identity nn.KLDPenalty nn.L1Penalty nn.L2Penalty
        nn.LowMemDropout nn.PCAColorTransform nn.PrintDimensions nn.PrintModule nn.PrintSize nn.Probe nn.RandomCrop
        nn.RegularizeLayer nn.ScaleGrad nn.SeqDropout nn.SharedDropout nn.SimpleColorTransform nn.SpatialDropout
        nn.SpatialRegionDropout nn.Tic nn.Toc nn.TotalDropout nn.VolumetricDropout nn.WhiteNoise nn.ZeroGrad
        w2nn.PrintTable
    """,
    "normalization.batch": """
        cudnn.BatchNormalization cudnn.SpatialBatchNormalization cudnn.SpatialCrossMapLRN
        cudnn.VolumetricBatchNormalization fbnn.BatchNormalization fbnn.SpatialBatchNormalization
        inn.SpatialCrossResponseNormalization inn.SpatialSameResponseNormalization nn.BatchNormalization
        nn.InstanceNormalization nn.L2Normalize nn.LayerNormalization nn.Normalize nn.SpatialBatchNormalization
        nn.SpatialCrossMapLRN nn.SpatialFeatNormalization nn.VolumetricBatchNormalization onmt.LayerNormalization
    """,
    "normalization.local": """
        nn.SpatialContrastiveNormalization nn.SpatialDivisiveNormalization nn.SpatialNormalization
        nn.SpatialSubtractiveNormalization
    """,
    "padding": """
        nn.Padding nn.ShaveImage nn.SpatialCircularPadding nn.SpatialPadding nn.SpatialReflectionPadding
        nn.SpatialReplicationPadding nn.SpatialSymmetricPadding nn.SpatialZeroPadding nn.VolumetricReplicationPadding
    """,
    "pooling.adaptive": """
        nn.SpatialAdaptiveAveragePooling nn.SpatialAdaptiveMaxPooling nn.SpatialFractionalMaxPooling
        nn.VolumetricFractionalMaxPooling
    """,
    "pooling.temporal": """
        nn.FeatureLPPooling nn.GroupKMaxPooling nn.KMaxPooling nn.TemporalDynamicKMaxPooling nn.TemporalMaxPooling
    """,
    "pooling.unpooling": """
        nn.SpatialMaxUnpooling nn.VolumetricMaxUnpooling
    """,
    "pooling.window": """
        cudnn.SpatialAveragePooling cudnn.SpatialMaxPooling cudnn.VolumetricAveragePooling cudnn.VolumetricMaxPooling
        inn.SpatialAveragePooling inn.SpatialMaxPooling nn.SpatialAveragePooling nn.SpatialDilatedMaxPooling
        nn.SpatialLPPooling nn.SpatialMaxPooling nn.VolumetricAveragePooling nn.VolumetricDilatedMaxPooling
        nn.VolumetricMaxPooling
    """,
    "product": """
        nn.CosineDistance nn.DotProduct nn.MM nn.MV nn.PairwiseDistance
    """,
    "projects.atari": """
        nn.BatchTopK nn.Rectifier nn.Scale
    """,
    "projects.attention": """
        nn.NCEModule nn.SpatialGlimpse
    """,
    "projects.autoencoders": """
        nn.DropoutEx nn.Gaussian nn.Uniform
    """,
    "projects.binarynet": """
        BatchNormalizationShiftPow2 BinarizedNeurons BinaryLinear BinarySpatialConvolution
        SpatialBatchNormalizationShiftPow2 cudnnBinarySpatialConvolution
    """,
    "projects.char_rnn": """
        nn.GRIDGRU nn.GRIDGRULR nn.GRIDGRUM nn.Grid2DLSTM nn.History nn.StatefulConvolution
    """,
    "projects.co_attention": """
        nn.cnnModel nn.phrase_level nn.ques_level nn.recursive_atten nn.word_level
    """,
    "projects.cuda_convnet2": """
        ccn2.SpatialAvgPooling ccn2.SpatialConvolution ccn2.SpatialCrossResponseNormalization ccn2.SpatialMaxPooling
    """,
    "projects.dcign": """
        nn.Entity nn.GaussianSampler nn.GradScale nn.IntensityMod nn.LinearCR nn.Reparametrize nn.Sampler
        nn.SelectiveGradientFilter nn.SelectiveOutputClamp nn.UnPooling nn.componentMul
    """,
    "projects.densecap": """
        nn.ApplyBoxTransform nn.BatchBilinearSamplerBHWD nn.BilinearRoiPooling nn.BoxIoU nn.BoxToAffine
        nn.InvertBoxTransform nn.MakeAnchors nn.MakeBoxes nn.ReshapeBoxFeatures
    """,
    "projects.densenet": """
        nn.DenseConnectLayerCustom
    """,
    "projects.depth": """
        nn.ChannelDropout nn.Unpool
    """,
    "projects.detection": """
        fbcoco.ImageTransformer nn.BBoxNorm nn.ContextRegion nn.ConvertFrom nn.DeepMask nn.Foveal nn.ModeSwitch
        nn.ModelParallelTable nn.SelectBoxes nn.SequentialSplitBatch nn.SharpMask
    """,
    "projects.diagonal": """
        nn.Diag
    """,
    "projects.dpnn": """
        nn.CategoricalEntropy nn.Kmeans nn.SpatialUniformCrop nn.VariableLength
    """,
    "projects.edsr": """
        nn.MultiSkipAdd
    """,
    "projects.encoding": """
        nn.Aggregate nn.Encoding nn.Inspiration nn.NetVLAD
    """,
    "projects.fairseq": """
        nn.AppendBias nn.BeamableMM nn.CAddTableMulConstant nn.ConvBlockTrainTestLayer nn.GradMultiply
        nn.LinearizedConvolution nn.SeqMultiply nn.TemporalConvolutionTBC nn.TrainTestLayer nn.ZipAlong
    """,
    "projects.fbcunn": """
        fbnn.SpatialConvolution nn.LookupTableGPU nn.ModelParallel nn.SpatialConvolutionCuFFT nn.SpatialConvolutionFBFFT
        nn.SpatialConvolutionFBFFTGemm nn.SpatialConvolutionFFT nn.SpatialConvolutionFFTTiled
        nn.SpatialConvolutionFFTTiledAsync nn.SpatialConvolutionFFTTiledIterated nn.SpatialConvolutionFFTTiledSync
        nn.TemporalConvolutionFB nn.TemporalKMaxPooling
    """,
    "projects.fbnn": """
        fbnn.Constant fbnn.L2Normalize nn.CachingLookupTable nn.CrossMapNormalization nn.LocallyConnected
        nn.SparseLookupTable nn.SparseThreshold nn.UnfoldedTemporalConvolution nn.Upsample
    """,
    "projects.flattened": """
        nn.HorizontalConvolution nn.LateralConvolution nn.VerticalConvolution
    """,
    "projects.foveas": """
        nn.SpatialFovea nn.SpatialPyramid nn.SpatialRecursiveFovea
    """,
    "projects.global_pooling": """
        nn.GlobalAveragePooling nn.GlobalMaxPooling nn.GlobalkMaxPooling nn.LogSumExpPooling nn.WeldonPooling
    """,
    "projects.imagine_nn": """
        inn.ConstAffine inn.MeanSubtraction inn.SpatialConstAffine inn.SpatialPyramidPooling
        inn.SpatialStochasticPooling nn.SpatialConstDiagonal
    """,
    "projects.memory_networks": """
        nn.Normalization nn.PositionalEncoder nn.SumVecarr nn.WeightedLookupTable nn.WeightedLookupTableSkinny
        nn.maskSoftMax
    """,
    "projects.neuraltalk2": """
        nn.FeatExpander nn.FeatExpanderConv
    """,
    "projects.nnx": """
        nn.Balance nn.SpatialColorTransform nn.SpatialDownSampling nn.SpatialGraph nn.SpatialLinear nn.SpatialMatching
        nn.SpatialMaxSampling nn.SpatialRadialMatching nn.SpatialUpSampling nnx.QDRiemaNNLinear
    """,
    "projects.ntm": """
        nn.CircularConvolution nn.OuterProd nn.PowTable nn.Print nn.ScalarDivTable nn.ScalarMulTable
        nn.SmoothCosineSimilarity ntm.NTM
    """,
    "projects.opennmt": """
        onmt.Attention onmt.Bridge onmt.FeaturesEmbedding onmt.FeaturesGenerator onmt.GRU onmt.Generator
        onmt.GlobalAttention onmt.JoinReplicateTable onmt.LSTM onmt.MaskedSoftmax onmt.Network onmt.NoAttention
        onmt.PositionEmbedding onmt.VariationalDropout onmt.WordEmbedding
    """,
    "projects.opennmt_sequences": """
        onmt.BiEncoder onmt.CNNEncoder onmt.DBiEncoder onmt.Decoder onmt.Encoder onmt.GoogleEncoder onmt.PDBiEncoder
    """,
    "projects.pyramids": """
        nn.DifferenceOfGaussian
    """,
    "projects.rectifiers": """
        nn.ConstrainedDiv nn.ConstrainedMul nn.MyAdd nn.PELU nn.SReLU nn.SaturatedLU
    """,
    "projects.recurrent": """
        cudnn.BatchBRNN cudnn.BatchBRNNReLU nn.BiRnnJoin nn.LanguageModel nn.LstmLayer nn.SharedParallelTable
        nn.TemporalAdapter
    """,
    "projects.recurrent_containers": """
        nn.RecurrentContainer
    """,
    "projects.rnnlib": """
        nn.CudnnRnnTable nn.RecurrentTable nn.SequenceTable nn.WrappedCudnnRnn
    """,
    "projects.roi_pooling": """
        inn.ROIPooling
    """,
    "projects.shake_shake": """
        nn.MulConstantSlices nn.ShakeShakeBlock nn.ShakeShakeTable
    """,
    "projects.signed_root": """
        nn.L2Norm nn.SignedSquareRoot nn.Sin
    """,
    "projects.snli_attention": """
        nn.AddScalar nn.CAveTable nn.LookupTableEmbedding_fixed nn.LookupTableEmbedding_train
        nn.LookupTableEmbedding_update nn.MaskAveTable nn.Maskh nn.ReplicateAdd nn.SumKeepdim nn.TableAddTensor
        nn.TensorAddVector
    """,
    "projects.softmax_tree": """
        nn.SoftMaxTree
    """,
    "projects.stereo": """
        jzt.SpatialConvolution1_fw nn.BCECriterion2 nn.Margin2 nn.Normalize2 nn.SpatialConvolution1_fw nn.StereoJoin
        nn.StereoJoin1
    """,
    "projects.stochastic_depth": """
        nn.ResidualDrop nn.StochasticDrop
    """,
    "projects.style_transfer": """
        nn.AdaptiveInstanceNormalization nn.ContentLoss nn.ContentLossModule nn.DeepDreamLoss nn.DummyGradOutput
        nn.GenNoise nn.GradNormalization nn.GramMatrix nn.MaxCoord nn.NoiseFill nn.StyleGramMatrixLossModule
        nn.StyleINLossModule nn.StyleLoss nn.StylePatchLossModule nn.TVLoss nn.TVLoss2 nn.TVLossModule nn.TextureLoss
        nn.TotalVariation nn.VGG_postprocess
    """,
    "projects.text_similarity": """
        nn.CsDis nn.MetrixMultiply nn.PaddingReshape
    """,
    "projects.triplets": """
        nn.TripletNetBatch
    """,
    "projects.video": """
        nn.CropInvert nn.ExpandDim nn.SpatialUpSample nn.TemporalModule
    """,
    "projects.visual_dialog": """
        nn.MaskFuture nn.MaskSoftMax nn.MaskTime nn.ReplaceZero
    """,
    "projects.waifu2x": """
        w2nn.AuxiliaryLossTable w2nn.DepthExpand2x w2nn.EdgeFilter w2nn.GradWeight w2nn.InplaceClip01 w2nn.Print
        w2nn.ScaleTable w2nn.ShakeShakeTable
    """,
    "projects.word_rnn": """
        BELU nn.BReLU nn.Zoneout
    """,
    "projects.xnor_net": """
        nn.BinActiveZ nn.SpatialBinaryConvolution
    """,
    "recurrent.attention": """
        nn.RecurrentAttention
    """,
    "recurrent.cudnn": """
        cudnn.BGRU cudnn.BLSTM cudnn.GRU cudnn.LSTM cudnn.RNN cudnn.RNNReLU cudnn.RNNTanh
    """,
    "recurrent.masking": """
        nn.MaskZero nn.MaskZeroCopy nn.TrimZero
    """,
    "recurrent.recursor": """
        nn.BNFastLSTM nn.CopyGrad nn.FastLSTM nn.GRUST nn.LinearRNN nn.LookupRNN nn.MuFuRu nn.NormStabilizer nn.RecGRU
        nn.RecLSTM nn.Recurrence nn.Recurrent nn.Recursor
    """,
    "recurrent.reinforce": """
        nn.ReinforceBernoulli nn.ReinforceCategorical nn.ReinforceGamma nn.ReinforceNormal
    """,
    "recurrent.reversal": """
        nn.Reverse nn.ReverseSequence nn.SeqReverseSequence
    """,
    "recurrent.sequence": """
        nn.SeqGRU nn.SeqGRU_WN nn.SeqLSTM nn.SeqLSTMP nn.SeqLSTMP_WN nn.SeqLSTM_WN
    """,
    "recurrent.sequencer": """
        nn.BRNN nn.BiSequencer nn.BiSequencerLM nn.Repeater nn.ReverseUnreverse nn.SeqBGRU nn.SeqBLSTM nn.SeqBRNN
        nn.Sequencer
    """,
    "recurrent.step": """
        nn.StepGRU nn.StepLSTM
    """,
    "recurrent.torch_rnn": """
        nn.GRU nn.LSTM nn.VanillaRNN
    """,
    "reduction": """
        nn.ArgMax nn.Max nn.Mean nn.Min nn.Sum
    """,
    "shape.replicate": """
        nn.ExpandAs nn.Replicate
    """,
    "shape.selection": """
        nn.Index nn.MaskedSelect nn.Narrow nn.Select
    """,
    "shape.transpose": """
        nn.Transpose
    """,
    "shape.view": """
        nn.BatchReshape nn.Collapse nn.MinDim nn.Reshape nn.Squeeze nn.Unsqueeze nn.View
    """,
    "softmax": """
        cudnn.LogSoftMax cudnn.SoftMax cudnn.SpatialLogSoftMax cudnn.SpatialSoftMax cudnn.VolumetricLogSoftMax
        cudnn.VolumetricSoftMax nn.LogSoftMax nn.MultiSoftMax nn.SoftMax nn.SoftMin nn.SparseMax nn.SpatialLogSoftMax
        nn.SpatialSoftMax
    """,
    "spatial_transformer": """
        nn.AffineGridGeneratorBHWD nn.AffineTransformMatrixGenerator nn.BilinearSamplerBHWD nn.ScaleBHWD
    """,
    "table.arithmetic": """
        classifier.CRowAddTable nn.CAddRepTable nn.CAddTable nn.CAddTensorTable nn.CDivTable nn.CMaxTable nn.CMinTable
        nn.CMulTable nn.CSubTable nn.JoinTable nn.MixtureTable nn.SplitTable treelstm.CRowAddTable
    """,
    "table.selection": """
        nn.ElementTable nn.FlattenTable nn.NarrowTable nn.PullTable nn.PushTable nn.ReverseTable nn.SelectTable
        nn.ZipTable nn.ZipTableOneToMany
    """,
    "upsampling": """
        cudnn.SpatialConvolutionUpsample nn.PixelShuffle nn.PixelSort nn.SpatialConvolutionUpsample nn.SpatialReSampling
        nn.SpatialReSamplingEx nn.SpatialUpSamplingBilinear nn.SpatialUpSamplingNearest nn.UpSampling
    """,
    "wrapper": """
        fbnn.Probe nn.AdaptiveLoss nn.BinaryClassReward nn.BinaryLogisticRegression nn.ClassNLLCriterionWithUNK
        nn.Convert nn.Criterion nn.DataParallel nn.DataParallelTable nn.Decorator nn.DontCast nn.FireModule nn.GPU
        nn.HLogSoftMax nn.HSM nn.Inception nn.L1Cost nn.NaN nn.NoBackprop nn.Profile nn.SequencerCriterionNormStab
        nn.Serial nn.SparseMaxLoss nn.SpatialBinaryLogisticRegression nn.StochasticSkip nn.VRClassReward nn.WeightNorm
    """,
}

#: The module of a class, by Torch's name, as it is called below ``retorch.layers``.
MODULES = {name: module for module, names in _NAMES.items() for name in names.split()}
