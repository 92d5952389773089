#!/bin/bash
# Train on the GPUs of several hosts by Slurm:  sbatch examples/cluster/train.slurm.sh PHOTOS MODEL.tellapart
# PHOTOS and the cache stand on a file system that all hosts share; host 0 writes the model there. One task a GPU.
# After a stop by the time limit:  sbatch examples/cluster/train.slurm.sh PHOTOS MODEL.tellapart --resume
#SBATCH --job-name=tellapart
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=4
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=8
#SBATCH --time=04:00:00
#SBATCH --signal=TERM@120
set -euo pipefail
photos=$1 model=$2
shift 2
export KERAS_BACKEND=jax
export TELLAPART_CACHE=${TELLAPART_CACHE:-$PWD/tellapart-cache}
# JAX finds the tasks of a Slurm step by itself; --devices says that they are to work together. --batch-size is that of
# all GPUs together: a multiple of their number.
srun --kill-on-bad-exit=1 tellapart train "$photos" -o "$model" --recipe scratch --batch-size 256 --devices auto "$@"
