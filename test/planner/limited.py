"""A command in a process whose memory is limited; see ``test_limits.py``.

Run as ``python -m test.planner.limited LIMIT ARGUMENTS...``: runs ``pygas ARGUMENTS`` after
RLIMIT_DATA was set to LIMIT bytes, and prints its exit code, the bytes that the plan wanted, and
the most data that the process had.
"""

import json
import resource
import sys
from typing import Any

from torch_geometric_autoscale.cli import plan as plan_command
from torch_geometric_autoscale.cli import planned_job
from torch_geometric_autoscale.cli.main import main

from ..out_of_core import HighWater, status


def run(limit: int, arguments: list[str]) -> int:
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    told: dict[str, Any] = {'before': status('VmData')}
    make_plan = planned_job.plan_for

    def planned(*given: Any, **named: Any) -> Any:
        made = make_plan(*given, **named)
        told.update(total=made.total, peak=made.needs.peak, choice=str(made.choice))
        return made

    planned_job.plan_for = plan_command.plan_for = planned
    water = HighWater()
    water.start()
    code = main(arguments)
    water.is_over.set()
    water.join()
    print('told', json.dumps({**told, 'code': code, 'most': water.data}))
    return code


if __name__ == '__main__':
    sys.exit(run(int(sys.argv[1]), sys.argv[2:]))
