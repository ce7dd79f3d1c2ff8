"""NVFlare's FedAvg in its simulator, or in POC: processes that speak gRPC on this machine.

`python nvflare_run.py simulator|poc SHARDS BANKS ROUNDS WORKSPACE`
"""

import sys
from pathlib import Path

import task
from nvflare.app_opt.pt.recipes.fedavg import FedAvgRecipe
from nvflare.recipe import PocEnv, SimEnv


def main() -> None:
    """Runs the job to its end."""
    kind, shards, banks, rounds, workspace = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:5]), sys.argv[5]
    recipe = FedAvgRecipe(
        name="peer",
        min_clients=banks,
        num_rounds=rounds,
        model=task.first_model(),
        train_script=str(Path(__file__).parent / "nvflare_client.py"),
        train_args=shards,
    )
    recipe.add_server_file(str(Path(__file__).parent / "task.py"))
    recipe.add_client_file(str(Path(__file__).parent / "task.py"))
    environment = (
        SimEnv(num_clients=banks, num_threads=banks, workspace_root=workspace)
        if kind == "simulator"
        else PocEnv(num_clients=banks)
    )
    run = recipe.execute(environment)
    print("status", run.get_status())
    print("result", run.get_result())


if __name__ == "__main__":
    main()
