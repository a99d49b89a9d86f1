// The one exception of this room; the Cython face turns it into harpy.errors.
#pragma once

#include <stdexcept>
#include <string>

namespace harpy::collective {

enum class Failure { kTimeout, kPeerLost, kProtocol, kAborted, kInterrupted, kMisuse };

class CollectiveError : public std::runtime_error {
  public:
    CollectiveError(Failure failure, int rank, const std::string& message)
        : std::runtime_error(message), failure(failure), rank(rank) {}

    Failure failure;
    int rank;  // the peer it is about, -1 if none
};

}  // namespace harpy::collective
