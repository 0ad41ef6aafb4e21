// Mounts live in a mount namespace of the host's own and vanish with its last process. The watcher in the background
// reads the pipe from the process that boots the host and pulls the plug when that one is gone, whatever it died of.
// systemd-nspawn ends with 133 when the host reboots.
export const bootScript = `
set -eu
exec 3<&0 0</dev/null
below() { for task in $1; do cat "/proc/$task/task/$task/children" 2>/dev/null || :; done; }
(
  trap '' INT TERM HUP
  cat <&3 >/dev/null
  if [ "$(cat /proc/$$/comm 2>/dev/null)" = sh ]; then
    read self rest </proc/self/stat
    nspawn=$(below $$ | tr ' ' '\\n' | grep -v "^$self$" || :)
    kill -KILL $$ || :
    kill -KILL $(below "$nspawn") $nspawn || :
  fi
  sleep 0.3
  find "$CGROUP" -depth -type d -exec rmdir {} + || :
  umount --lazy --recursive "$FOLDER" || :
  rmdir "$FOLDER" || :
) >/dev/null 2>&1 &
exec 3<&-
mkdir -p "$CGROUP"
mount -t tmpfs -o mode=0755 comfy-host "$FOLDER"
mkdir "$FOLDER/upper" "$FOLDER/work" "$FOLDER/root"
mount -t overlay -o "lowerdir=$LOWER,upperdir=$FOLDER/upper,workdir=$FOLDER/work" comfy-host "$FOLDER/root"
net=--private-network
if [ -n "$DEVICE" ]; then
  mkdir -p /run/netns
  mount -t tmpfs comfy-netns /run/netns
  ip netns add host
  ip link add "$DEVICE" type veth peer name host0 netns host
  ip addr add "$GATEWAY/30" dev "$DEVICE"
  ip link set "$DEVICE" up
  ip -n host addr add "$ADDRESS/30" dev host0
  ip -n host link set lo up
  ip -n host link set host0 up
  net=--network-namespace-path=/run/netns/host
fi
code=133
while [ "$code" = 133 ]; do
  code=0
  sh -c 'echo $$ > "$CGROUP/cgroup.procs"; exec "$@"' sh systemd-nspawn --quiet --boot $KEEP_UNIT --register=no \\
    --directory="$FOLDER/root" --machine="$NAME" --uuid="$UUID" --console=pipe --link-journal=no --resolv-conf=off \\
    --timezone=off "$net" || code=$?
done
exit "$code"
`
