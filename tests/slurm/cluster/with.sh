#!/bin/bash
# usage: with.sh COMMAND …   run a command on a host with Slurm's packages, as root on Debian
# What this installs it removes again: where the packages are and no controller answers, every start
# of Snakemake takes 9 s more, because its Slurm executor asks for the cluster when it is imported.
set -uo pipefail
PACKAGES="slurm-wlm slurm-client slurmctld slurmd slurm-wlm-basic-plugins munge environment-modules"
here=$(cd "$(dirname "$0")" && pwd)
lacking=""
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null && ! command -v slurmctld >/dev/null; then
  for package in $PACKAGES; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q "^install ok" || lacking="$lacking $package"
  done
fi
if [ -n "$lacking" ]; then
  # the packages' services must not start: the tests start their own
  policy=/usr/sbin/policy-rc.d
  made=""
  if [ ! -e $policy ]; then printf '#!/bin/sh\nexit 101\n' >$policy && chmod +x $policy && made=yes; fi
  { apt-get update -qq && apt-get install -y -qq --no-install-recommends $lacking; } >/dev/null 2>&1 ||
    echo "Slurm could not be installed: its tests will be skipped" >&2
  if [ -n "$made" ]; then rm -f $policy; fi
fi
"$@"
code=$?
if [ -n "$lacking" ]; then
  bash "$here/down.sh"
  apt-get purge -y -qq $lacking >/dev/null 2>&1
  rm -rf /etc/slurm  # as up.sh wrote it
fi
exit $code
