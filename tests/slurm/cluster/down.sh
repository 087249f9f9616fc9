#!/bin/bash
# stop exactly the daemons up.sh started, by pid file
RUN=${SLURM_CI_RUN:-${TMPDIR:-/tmp}/voxelway-slurm}
timeout 5 scancel --state=PENDING,RUNNING --user=root 2>/dev/null; 
for p in $RUN/slurmd.*.pid $RUN/slurmctld.pid $RUN/slurmdbd.pid $RUN/mariadbd.pid $RUN/munged.pid; do
  [ -s $p ] && { pid=$(cat $p); kill $pid 2>/dev/null; for i in $(seq 100); do kill -0 $pid 2>/dev/null || break; sleep .1; done; kill -0 $pid 2>/dev/null && kill -9 $pid; }
done; exit 0
