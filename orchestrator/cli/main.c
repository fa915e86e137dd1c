/* SPDX-License-Identifier: Apache-2.0 */
/* understudy - the command line. */
#include "orchestrator/cli/commands.h"

#include <locale.h>

int main(int argc, char **argv)
{
    setlocale(LC_CTYPE, "");
    return command_main(argc, argv);
}
