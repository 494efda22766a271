// One executable, many names: cli/modes.cc holds the table.
#include "cli/modes.h"

int main(int argc, char** argv) { return cli::run_mode(argc, argv); }
