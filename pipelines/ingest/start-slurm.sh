#!/usr/bin/env bash
# A Slurm cluster of this one machine, to try slurm.sh on. For test machines and containers only: it replaces slurm.conf.
#
#   sudo pipelines/ingest/start-slurm.sh          start it; `pkill slurm` ends it
#
# Needs root and Debian's slurm-wlm.
set -euo pipefail
[ "$(id -u)" -eq 0 ] || { echo 'start-slurm: root only' >&2; exit 1; }
host=$(hostname -s)
mkdir -p /etc/slurm /var/spool/slurmd /var/spool/slurmctld /run/munge
cat > /etc/slurm/slurm.conf << END
ClusterName=one
SlurmctldHost=$host
SlurmUser=root
AuthType=auth/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdSpoolDir=/var/spool/slurmd
StateSaveLocation=/var/spool/slurmctld
SlurmctldPidFile=/run/slurmctld.pid
SlurmdPidFile=/run/slurmd.pid
NodeName=$host CPUs=$(nproc) State=UNKNOWN
PartitionName=all Nodes=$host Default=YES MaxTime=INFINITE State=UP
END
[ -s /etc/munge/munge.key ] || mungekey
chown -R munge: /etc/munge /var/lib/munge /var/log/munge /run/munge
pgrep -x munged > /dev/null || runuser -u munge -- munged
slurmctld -L /var/log/slurmctld.log
slurmd -L /var/log/slurmd.log
for ((i = 0; i < 100; i++)); do
    if sinfo --noheader --states=idle 2> /dev/null | grep -q idle; then exit 0; fi
    sleep 0.2
done
echo 'start-slurm: no node became idle within 20 s' >&2
tail -n 5 /var/log/slurmctld.log /var/log/slurmd.log >&2
exit 1
