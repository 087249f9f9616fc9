#!/bin/bash
# usage: up.sh [none|dbd]   start a whole Slurm cluster on this host, as root, without systemd
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
export RUN=${SLURM_CI_RUN:-${TMPDIR:-/tmp}/voxelway-slurm}
MODE=${1:-none}
HOST=$(hostname -s)
mkdir -p $RUN/{state,spool,log,dev}; chmod 755 $RUN
for n in 0 1; do [ -e $RUN/dev/nvidia$n ] || mknod $RUN/dev/nvidia$n c 1 3 2>/dev/null || : > $RUN/dev/nvidia$n; done
if [ $MODE = dbd ]; then
  ACCT="AccountingStorageType=accounting_storage/slurmdbd\nAccountingStorageHost=127.0.0.1\nAccountingStoragePort=16819\nAccountingStorageTRES=gres/gpu\nAccountingStoreFlags=job_comment"
else
  ACCT="AccountingStorageType=accounting_storage/none"
fi
mkdir -p /etc/slurm
for f in slurm.conf gres.conf slurmdbd.conf; do
  sed -e "s#@RUN@#$RUN#g" -e "s#@HOST@#$HOST#g" -e "s#@ACCT@#$ACCT#" $here/$f > /etc/slurm/$f
done
chmod 600 /etc/slurm/slurmdbd.conf
# munge: private key + socket, as root
[ -s $RUN/munge.key ] || { dd if=/dev/urandom of=$RUN/munge.key bs=1 count=1024 status=none; chmod 400 $RUN/munge.key; }
# default socket on purpose: slurmdbd connections ignore AuthInfo=socket= (they would need AccountingStoragePass=)
mkdir -p /run/munge; chmod 755 /run/munge
munged --force --key-file=$RUN/munge.key --pid-file=$RUN/munged.pid --seed-file=$RUN/munged.seed --log-file=$RUN/log/munged.log
if [ $MODE = dbd ]; then
  if [ ! -d $RUN/mysql/mysql ]; then
    mariadb-install-db --no-defaults --user=root --datadir=$RUN/mysql --auth-root-authentication-method=socket --skip-test-db > $RUN/log/mariadb-install.log 2>&1
  fi
  mariadbd --no-defaults --user=root --datadir=$RUN/mysql --socket=$RUN/mysql.sock --pid-file=$RUN/mariadbd.pid --skip-networking \
     --innodb-buffer-pool-size=64M --innodb-lock-wait-timeout=900 --innodb-log-file-size=16M > $RUN/log/mariadbd.log 2>&1 &
  for i in $(seq 100); do mariadb-admin --no-defaults --socket=$RUN/mysql.sock ping >/dev/null 2>&1 && break; sleep .1; done
  MYSQL_UNIX_PORT=$RUN/mysql.sock slurmdbd
  for i in $(seq 100); do timeout 3 sacctmgr -n show cluster >/dev/null 2>&1 && break; sleep .1; done
  timeout 10 sacctmgr -i add cluster ci >/dev/null 2>&1 || true
  timeout 10 sacctmgr -i add account hospital Description=ci Organization=ci >/dev/null 2>&1 || true
  timeout 10 sacctmgr -i add user root Account=hospital >/dev/null 2>&1 || true
fi
slurmctld
for n in cpu01 cpu02 gpu01 gpu02; do mkdir -p $RUN/spool/$n; slurmd -N $n; done
for i in $(seq 100); do [ "$(timeout 3 sinfo -h -p cpu -t idle -o %D 2>/dev/null)" = 4 ] && break; sleep .1; done
sinfo -N -o '%N %P %T %c %m %G'
