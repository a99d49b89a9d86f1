// The policy of the E-step for many centers, told what happened by lines on stdin:
//
//   panel_policy WORK < events     prefers MOVE | scanned SECONDS DISTANCE | near SECONDS SHARE
//
// Prints after each event: what `prefers` answered (or -), whether bounds hold, and whether gaps
// would be measured.
#include "estep/panel_policy.h"

#include <cstdlib>
#include <iostream>
#include <string>

int main(int, char** arguments) {
    harpy::kmeans::PanelPolicy policy(std::atof(arguments[1]));
    std::string event;
    while (std::cin >> event) {
        double first = 0, second = 0;
        std::cin >> first;
        std::string answer = "-";
        if (event == "prefers") {
            answer = policy.prefers_near(first) ? "near" : "all";
        } else {
            std::cin >> second;
            event == "near" ? policy.searched_near(first, second) : policy.scanned(first, second);
        }
        std::cout << answer << (policy.bounded() ? " bounded" : " unbounded")
                  << (policy.measures_gaps() ? " gaps" : " no-gaps") << '\n';
    }
}
