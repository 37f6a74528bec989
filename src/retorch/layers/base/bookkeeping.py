"""Fields that say nothing about what a module computes at evaluation: buffers, gradients, flags of training."""

from __future__ import annotations

BOOKKEEPING = frozenset(
    """
    output gradInput gradWeight gradBias _type train finput fgradInput _input _gradOutput _output buffer buffer2
    _buffer _buffer2 addBuffer noise save_mean save_std ones copiedInput _count _indices _sorted batchsize
    outputSize inputSize input_offset output_offset weight_offset iSize autotunerHash convDescData convDesc
    input_slice output_slice tmp_in tmp_out nElem extraBufferSizeInBytes fmode bwmode bdmode benchmark fastest
    weightDesc biasDesc iDesc oDesc poolDesc scaleT scaleWeight scaleBias accGradParametersArgs gradWeightBuf
    gradWeightBuf2 indices iheight iwidth itime norm normp _norm _div _sum xx yy scale_ paddedInput
    paddedGradInput gradInput_ _gradInput _weight _bias _expand _expand2 _expand3 _expand4 _repeat _repeat2
    _repeat3 _repeat4 _view _view2 _view3 weightDecay dpnn_parameters dpnn_stepClone dpnn_mediumEmpty
    dpnn_sizeEmpty dpnn_online dpnn_getParameters_found dpnn_serializeMediumFields dpnn_serializeMedium
    momGradParams gradOutput _lastInput _shuffle bufferIndices connTableRev frozen lrMul wdMul lr learningRate
    name _name annotations __input __output __gradInput inputTable gradTable groupDesc mode nDim input_map
    gradTableView counts modelType _gradOutputs tableoutput tablegradInput outputBuffer gradInputs profileInfo
    _gradIndices updateGradInpout sizes size_ _c _sample _srcidx keepStates _gradWeight denseInput sampleIndices
    """.split()
)
