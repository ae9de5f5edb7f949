#!/bin/sh
# Runs a command in the namespace of a host, in place of ssh: in_namespace.sh [options] HOST COMMAND...
while [ "${1#-}" != "$1" ]; do shift; done
host=$1
shift
exec ip netns exec "chainer_ssd_${host##*.}" sh -c "$*"
