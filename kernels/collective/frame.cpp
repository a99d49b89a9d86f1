// Sizes of element types, and the names used in messages.
#include "frame.h"

namespace harpy::collective {

std::size_t size_of(DType dtype) {
    switch (dtype) {
        case DType::kBytes:
            return 1;
        case DType::kInt32:
        case DType::kFloat32:
            return 4;
        case DType::kInt64:
        case DType::kFloat64:
            return 8;
    }
    return 1;
}

static const char* name_of(DType dtype) {
    switch (dtype) {
        case DType::kBytes:
            return "bytes";
        case DType::kInt32:
            return "int32";
        case DType::kInt64:
            return "int64";
        case DType::kFloat32:
            return "float32";
        case DType::kFloat64:
            return "float64";
    }
    return "unknown dtype";
}

static const char* name_of(Reduction reduction) {
    switch (reduction) {
        case Reduction::kNone:
            return "no reduction";
        case Reduction::kSum:
            return "sum";
        case Reduction::kMax:
            return "max";
        case Reduction::kMin:
            return "min";
    }
    return "unknown reduction";
}

std::string describe(const Call& call, std::uint64_t sequence) {
    const std::string number = " #" + std::to_string(sequence);
    switch (call.operation) {
        case Operation::kBarrier:
            return "barrier" + number;
        case Operation::kBroadcast:
            return "broadcast" + number + " (" + std::to_string(call.count) + " bytes from rank " +
                   std::to_string(call.root) + ")";
        case Operation::kAllgather:
            return "allgather" + number;
        case Operation::kAllreduce:
            return "allreduce" + number + " (" + name_of(call.reduction) + " of " +
                   std::to_string(call.count) + " " + name_of(call.dtype) + ")";
        case Operation::kFarewell:
            return "farewell";
    }
    return "unknown operation";
}

Call call_of(const FrameHeader& header) {
    return {header.operation, header.dtype, header.reduction, header.root, header.count};
}

}  // namespace harpy::collective
