#!/bin/sh
# Stands in for ssh: in_namespace.sh [options] HOST COMMAND... runs COMMAND in HOST's namespace.
while [ "${1#-}" != "$1" ]; do shift; done
host=$1
shift
exec ip netns exec "chainer_ssd_${host##*.}" sh -c "$*"
