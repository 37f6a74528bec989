"""Caffe2's operators that no rule reads, with the reason: each operator of a real Caffe2 has a rule or a place here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["GROUPS", "Group", "reason_of"]


@dataclass(frozen=True, slots=True)
class Group:
    """Operators that are refused for one reason; ``why`` is the longer answer, for the documentation."""

    reason: str
    why: str
    operators: Sequence[str]


def _group(reason: str, why: str, operators: str) -> Group:
    return Group(reason, why, tuple(operators.split()))


TRAINING = _group(
    "a training operator: networks are read for evaluation",
    "They change weights, or calculate what only learning needs. So does every operator with `Gradient` in its name.",
    """
    Accumulate Adadelta Adagrad Adam AtomicIter ChannelBackpropStats ClipTensorByScaling DataCouple DecayAdagrad
    DropoutGrad FP16MomentumSGDUpdate FP32MomentumSGDUpdate Float16SparseNormalize Ftrl GFtrl HSoftmax Iter
    LambdaRankNdcg Lars LearningRate LearningRateAdaption MomentumSGD MomentumSGDUpdate NegateGradient PairWiseLoss
    RmsProp RowWiseCounter RowWiseSparseAdagrad RowWiseSparseAdam SmartDecaySparseAdam SparseAdadelta SparseAdagrad
    SparseAdam SparseFtrl SparseLpRegularizer SparseMomentumSGDUpdate SparseNormalize SparseStorm SparseWngrad Storm
    Wngrad YellowFin rnn_internal_accumulate_gradient_input rnn_internal_apply_link
    """,
)
GROUPS: Sequence[Group] = (
    TRAINING,
    _group(
        "draws other numbers in every run, which nothing reproduces",
        "No two runs of Caffe2 agree, and their order of drawing is no part of a network's meaning.",
        """
        FloatToFusedRandRowwiseQuantized FusedRandRowwiseQuantizedToFloat ReservoirSampling SortAndShuffle
        SparseDropoutWithReplacement SparseItemwiseDropoutWithReplacement UniqueUniformFill WeightedMultiSampling
        WeightedSample
        """,
    ),
    _group(
        "its result depends on more than its inputs: on earlier runs, files or other programs",
        "They read files and databases, queues that other threads fill, counters that every run moves, the clock, or"
        " run code that the net does not hold.",
        """
        APMeter AccumulateHistogram Append AtomicAppend AtomicFetchAdd AtomicFetchAdd64 AveragePut CheckAtomicBool
        CheckCounterDone CheckDatasetConsistency Checkpoint CloseBlobsQueue CloseRebatchingQueue CollectTensor
        ComputeOffset ConditionalSetAtomicBool CountDown CountUp CreateAtomicBool CreateBlobsQueue
        CreateBlobsQueueDB CreateCounter CreateDB CreateMutex CreateRebatchingQueue CreateTextFileReader
        CreateTreeCursor DBExists DequeueBlobs DequeueRebatchingQueue EnqueueBlobs EnqueueRebatchingQueue FeedBlob
        GetCursorOffset ImageInput IncrementPut IndexLoad LastNWindowCollector Load Python PythonDLPack
        ReadNextBatch ReadRandomBatch ResetCounter ResetCursor RetrieveCount SafeDequeueBlobs SafeEnqueueBlobs Save
        StatRegistryCreate StatRegistryExport StatRegistryUpdate StdDevPut TensorProtosDBInput TextFileReaderRead
        TrimDataset VideoInput WallClockTime WeightedSampleDequeueBlobs
        """,
    ),
    _group(
        "exchanges tensors with other processes or devices",
        "A converted network runs in one process.",
        """
        Allgather Allreduce Barrier Broadcast CloneCommonWorld CreateCommonWorld DestroyCommonWorld
        FileStoreHandlerCreate NCCLAllGather NCCLAllreduce NCCLBroadcast NCCLReduce NCCLReduceScatter ReceiveTensor
        Reduce ReduceScatter SendTensor StoreAdd StoreGet StoreSet StoreWait
        """,
    ),
    _group(
        "measures, prints or stops a program, and calculates nothing",
        "Without outputs they are left out; with outputs, these say something of the program, not of the inputs.",
        """
        Assert Crash EnforceFinite EstimateAllBlobSizes Fail Free GetAllBlobNames GetGPUMemoryUsage LogFatal Print
        ThrowChildThreadException ThrowException TimerBegin TimerEnd TimerGet TimerGetAndEnd
        """,
    ),
    _group(
        "works on text, trees, maps or lists, which are no tensors",
        "ONNX and the engines that run it hold tensors of numbers; what these operators make has no shape there.",
        """
        ConcatTensorVector CreateMap CreateTensorVector FbFCPacked FbGemmPack FbGemmPackTranspose
        GivenTensorStringFill HSoftmaxSearch HuffmanTreeHierarchy IndexFreeze IndexGet IndexSize IndexStore
        Int8FCPackWeight Int8GenQuantParams IntIndexCreate KeyValueToMap LongIndexCreate MapToKeyValue PackRecords
        StringEndsWith StringEquals StringIndexCreate StringJoin StringPrefix StringStartsWith StringSuffix
        TensorVectorSize UnPackRecords
        """,
    ),
    _group(
        "asks what earlier runs left in a workspace",
        "Scopes are made while a net runs, and hold what earlier steps left there.",
        "HasScope RecurrentNetworkBlobFetcher",
    ),
    _group(
        "has no implementation on a CPU",
        "Only builds for graphics cards or accelerators run it, and nothing here can say what it gives.",
        "DeformConv MaxPoolWithIndex Onnxifi Recurrent RecurrentParamGet RecurrentParamSet SparseLengthsMax",
    ),
    _group(
        "calls any operator of PyTorch by its name",
        "Its meaning is PyTorch's; export the PyTorch model itself.",
        "ATen",
    ),
    _group(
        "an experiment of torch 1.0, which says not to use it",
        "Their names end in `DontUseThisOpYet`, and torch 1.10 has dropped them all.",
        """
        C10Add_DontUseThisOpYet C10AveragedLoss_DontUseThisOpYet C10BatchGather_DontUseThisOpYet
        C10BatchMatMul_DontUseThisOpYet C10Cast_DontUseThisOpYet C10Concat_DontUseThisOpYet
        C10ConstantFill_DontUseThisOpYet C10EnforceFinite_DontUseThisOpYet C10ExpandDims_DontUseThisOpYet
        C10FC_DontUseThisOpYet C10Flatten_DontUseThisOpYet C10GivenTensorFill_DontUseThisOpYet
        C10GivenTensorInt64Fill_DontUseThisOpYet C10GivenTensorIntFill_DontUseThisOpYet C10Mul_DontUseThisOpYet
        C10Relu_DontUseThisOpYet C10SigmoidCrossEntropyWithLogits_DontUseThisOpYet C10Sigmoid_DontUseThisOpYet
        C10SparseLengthsSum_DontUseThisOpYet C10StopGradient_DontUseThisOpYet C10UniformFill_DontUseThisOpYet
        """,
    ),
    _group(
        "exists for the engine DNNLOWP alone, whose numbers are not reproduced",
        "DNNLOWP chooses the scales of its eight bits while it runs. Operators of other names with that engine are"
        " refused as well.",
        """
        Dequantize Int8BatchMatMul Int8ConvPackWeight Int8DequantizeRowWise Int8ElementwiseLinear Int8FCRelu
        Int8Gather Int8GroupNorm Int8LSTMUnit Int8Mul Int8SpatialBN Int8SpatialBNRelu Int8Tanh Quantize
        """,
    ),
)
_REASONS = {operator: group.reason for group in GROUPS for operator in group.operators}


def reason_of(kind: str) -> str:
    """Why an operator that has no rule is refused."""
    if "Gradient" in kind:
        return TRAINING.reason
    return _REASONS.get(kind, "not an operator that retorch knows")
