#!/usr/bin/env bash
# A whole Kubernetes on this machine, in the foreground, for as long as its input is open: cluster.sh DIRECTORY PROGRAMS [PACKAGES]
#
#   DIRECTORY  absolute, new; it is removed at the end. Logs are in DIRECTORY/log
#   PROGRAMS   where build.sh left kubeone and its links
#   PACKAGES   usr/ of the unpacked containerd, runc and CNI plugins. With them (and as root) there is a node, whose pods run; without
#              there is none, and the test writes what a kubelet would
#
# Prints READY when it can be used, with DIRECTORY/admin.kubeconfig. Then it takes lines on its input and answers each by DONE:
# `kill NAME`, `start NAME`, `freeze NAME`, `thaw NAME`, NAME being a program's (kube-apiserver, kubelet-1, containerd-1, …); and
# `cut NAME`, NAME being a node's: its kubelet and containerd are gone, so that nobody learns of its pods, nor can end them;
# `lose NAME`: its power is gone.
# With CLUSTER_NODES=2 there are node-1 and node-2, each with a kubelet and a containerd of its own; a node that says nothing for half a
# minute is taken for lost, and its pods are made anew elsewhere.
# Whoever started it may die in any way: the input ends, and with it every daemon, container and mount.
#
# With a node the cluster has an address of its own on the loopback interface, out of the block for benchmarks (RFC 2544), which nobody
# routes: the API server answers there on port 443, which is the address of the Service `kubernetes`, too; so pods find it as they do
# anywhere, by KUBERNETES_SERVICE_HOST, without a kube-proxy. Pods with a network of their own reach the host at that address.
set -eu
folder=$1 programs=$2 packages=${3:-} n_nodes=${CLUSTER_NODES:-1}
[[ -n $packages ]] || n_nodes=0

# === Outside: the address, and what is left when all has ended. ===

claim() { # an address that exists already belongs to another cluster
  local n
  for n in $(shuf -i 0-511 -n 64); do
    NETWORK=198.$((18 + n / 256)).$((n % 256)) ADDRESS=198.$((18 + n / 256)).$((n % 256)).1
    ! ip address add "$ADDRESS/32" dev lo 2>/dev/null || return 0
  done
  echo 'no address is free in 198.18.0.0/15' >&2
  return 1
}

if [[ ${CLUSTER_INSIDE:-} != yes ]]; then
  mkdir -p "$folder"
  export CLUSTER_INSIDE=yes NETWORK=198.18.0 ADDRESS=127.0.0.1
  own=(--mount --pid --fork --mount-proc --kill-child)
  [[ $(id -u) == 0 ]] || own+=(--user --map-root-user)
  [[ -z $packages ]] || claim
  # What ends it is the end of its input, not a signal to the terminal's whole group.
  trap '' INT HUP TERM
  code=0
  unshare "${own[@]}" bash "$0" "$@" || code=$?
  if [[ -n $packages ]]; then
    ip address del "$ADDRESS/32" dev lo || true
    find /sys/fs/cgroup -depth -type d -path "*/novacula-$ADDRESS*" -exec rmdir {} + 2>/dev/null || true
  fi
  rm -rf "$folder"
  exit $code
fi

# === Inside: the first process of a PID namespace, with mounts of its own. ===

cd "$folder"
mkdir log pki
api_port=443 etcd=2379 peers=2380
[[ -n $packages ]] || api_port=${API_PORT:-16443} etcd=${ETCD_PORT:-12379} peers=${ETCD_PEER_PORT:-12380}
url=https://$ADDRESS:$api_port
[[ $api_port != 443 ]] || url=https://$ADDRESS

# One authority, one server certificate, the key that signs the tokens of accounts, one administrator's token.
new=(-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes)
{
  openssl req -x509 "${new[@]}" -keyout pki/ca.key -out pki/ca.crt -days 30 -subj /CN=cluster
  openssl req "${new[@]}" -keyout pki/api.key -out pki/api.csr -subj /CN=kube-apiserver
  echo "subjectAltName=DNS:localhost,DNS:kubernetes.default.svc,IP:127.0.0.1,IP:$ADDRESS,IP:$NETWORK.1" >pki/names
  openssl x509 -req -in pki/api.csr -CA pki/ca.crt -CAkey pki/ca.key -CAcreateserial -days 30 -extfile pki/names -out pki/api.crt
  openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out pki/accounts.key
  openssl pkey -in pki/accounts.key -pubout -out pki/accounts.pub
} 2>log/openssl
token=$(openssl rand -hex 16)
echo "$token,admin,admin,system:masters" >tokens.csv
cat >admin.kubeconfig <<EOF
apiVersion: v1
kind: Config
clusters: [{name: cluster, cluster: {server: "$url", certificate-authority: "$folder/pki/ca.crt"}}]
users: [{name: admin, user: {token: $token}}]
contexts: [{name: admin, context: {cluster: cluster, user: admin}}]
current-context: admin
EOF
get() { curl -fs --max-time 5 --cacert pki/ca.crt -H "Authorization: Bearer $token" "$url/$1" 2>/dev/null; }

# What every node of this machine sees.
prepare_machine() {
  # kubelet and the network plugin set these of the whole machine: they are shown files that hold the wanted values already.
  mkdir -p network hosts fake
  local setting file place
  for setting in vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1 net/ipv4/ip_forward=1; do
    file=fake/${setting//\//_}
    echo "${setting#*=}" >"$file"
    mount --bind "$file" "/proc/sys/${setting%=*}"
  done
  # Fixed paths that two clusters would share.
  for place in /var/lib/kubelet /run/containerd /var/log/containers /run/netns; do mkdir -p "$place" && mount -t tmpfs tmpfs "$place"; done
  cat >network/pods.conflist <<EOF
{"cniVersion": "0.4.0", "name": "pods", "plugins": [{"type": "ptp", "ipam": {"type": "host-local", "dataDir": "$folder/addresses",
  "subnet": "$NETWORK.128/25", "routes": [{"dst": "0.0.0.0/0"}]}}]}
EOF
}

prepare_node() { # prepare_node NAME
  local home=$folder/$1
  mkdir -p "$home/images"
  # Images and layers are written once and thrown away: not one sync of them is worth waiting for a disk.
  mount -t tmpfs tmpfs "$home/images"
  # The machine lacks CAP_SYS_RESOURCE and may lack AppArmor.
  cat >"$home/containerd.toml" <<EOF
version = 2
root = "$home/images"
state = "$home/state"
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.devmapper"]
[grpc]
  address = "$home/containerd.sock"
[plugins."io.containerd.internal.v1.opt"]
  path = "$home/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "pause.cluster/pause:1"
  disable_apparmor = true
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "$folder/hosts"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "$packages/lib/cni"
    conf_dir = "$folder/network"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      BinaryName = "$packages/sbin/runc"
      SystemdCgroup = false
EOF
  # Waiting reasons of pods show within the time of a synchronisation.
  cat >"$home/kubelet.yaml" <<EOF
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: $ADDRESS
port: $((10249 + ${1#node-}))
nodeLeaseDurationSeconds: 12
readOnlyPort: 0
healthzPort: 0
authentication: {anonymous: {enabled: true}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
containerRuntimeEndpoint: unix://$home/containerd.sock
cgroupDriver: cgroupfs
cgroupRoot: /novacula-$ADDRESS-$1
cgroupsPerQOS: false
enforceNodeAllocatable: []
failCgroupV1: false
failSwapOn: false
oomScoreAdj: 0
makeIPTablesUtilChains: false
serializeImagePulls: false
syncFrequency: 2s
resolvConf: ""
# Nobody answers there; a pod without any is warned about in an event.
clusterDNS: ["$ADDRESS"]
clusterDomain: cluster.local
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
evictionHard: {memory.available: "1Mi", nodefs.available: "0%", imagefs.available: "0%", nodefs.inodesFree: "0%"}
podLogsDir: $home/logs
volumePluginDir: $home/plugins
EOF
}

declare -A process
run() { # run NAME COMMAND...
  local name=$1
  shift
  "$@" </dev/null >>"log/$name" 2>&1 &
  process[$name]=$!
}

controllers=deployment-controller,replicaset-controller,statefulset-controller,job-controller,serviceaccount-controller
controllers+=,root-ca-certificate-publisher-controller,garbage-collector-controller,namespace-controller,resourcequota-controller
controllers+=,disruption-controller,clusterrole-aggregation-controller,pod-garbage-collector-controller
# Where all nodes are on one machine that is busy, none is taken for lost but in trials of that.
noticing=() leaving=()
if [[ $n_nodes -gt 1 ]]; then
  controllers+=,node-lifecycle-controller,taint-eviction-controller
  noticing=(--node-monitor-grace-period=30s --node-monitor-period=2s)
  leaving=(--default-not-ready-toleration-seconds=2 --default-unreachable-toleration-seconds=2)
fi

start() {
  local etcd_url=http://$ADDRESS:$etcd peers_url=http://$ADDRESS:$peers
  case $1 in
    etcd) run etcd "$programs/etcd" --data-dir "$folder/etcd" --unsafe-no-fsync --listen-client-urls $etcd_url --advertise-client-urls $etcd_url \
      --listen-peer-urls $peers_url --initial-advertise-peer-urls $peers_url --initial-cluster default=$peers_url ;;
    kube-apiserver) run kube-apiserver "$programs/kube-apiserver" --etcd-servers=$etcd_url --bind-address="$ADDRESS" --advertise-address="$ADDRESS" \
      --secure-port=$api_port --endpoint-reconciler-type=none --service-cluster-ip-range=$NETWORK.0/25 --allow-privileged=true \
      --disable-admission-plugins=TaintNodesByCondition --tls-cert-file=pki/api.crt --tls-private-key-file=pki/api.key \
      --token-auth-file=tokens.csv --authorization-mode=RBAC --service-account-issuer="$url" --service-account-jwks-uri="$url/openid/v1/jwks" \
      --service-account-key-file=pki/accounts.pub --service-account-signing-key-file=pki/accounts.key \
      --kubelet-preferred-address-types=InternalIP --profiling=false "${leaving[@]}" ;;
    kube-controller-manager) run kube-controller-manager "$programs/kube-controller-manager" --kubeconfig=admin.kubeconfig --secure-port=0 \
      --leader-elect=false --service-account-private-key-file=pki/accounts.key --root-ca-file=pki/ca.crt --controllers=$controllers "${noticing[@]}" ;;
    kube-scheduler) run kube-scheduler "$programs/kube-scheduler" --kubeconfig=admin.kubeconfig --secure-port=0 --leader-elect=false ;;
    containerd-*) PATH=$packages/bin:$packages/sbin:$PATH run "$1" "$packages/bin/containerd" --config "node-${1##*-}/containerd.toml" ;;
    kubelet-*) local node=node-${1##*-}
      run "$1" "$programs/kubelet" --config="$node/kubelet.yaml" --kubeconfig=admin.kubeconfig --hostname-override="$node" --node-ip="$ADDRESS" \
        --root-dir="$folder/$node/kubelet" --cert-dir="$folder/$node/kubelet/pki" ;;
    *) return 1 ;;
  esac
}

until_() { # until_ COMMAND...: a minute is many times what it takes
  local n
  for n in $(seq 600); do
    if "$@" >/dev/null; then return 0; fi
    sleep 0.1
  done
  echo "gave up waiting: $*" >&2
  tail -n 5 log/* >&2
  return 1
}
cut() { # cut NAME
  kill -KILL "${process[kubelet-${1#node-}]}" "${process[containerd-${1#node-}]}"
}
lose() { # lose NAME: what would start anything again; then the shims of its containers, and what they have started
  local shim children
  cut "$1"
  for shim in $(grep -alsF "$folder/$1/containerd.sock" /proc/[0-9]*/cmdline); do
    shim=${shim#/proc/} shim=${shim%/cmdline}
    # The search finds itself, and has ended.
    children=$(cat "/proc/$shim/task/$shim/children" 2>/dev/null) || continue
    # shellcheck disable=SC2086 # several
    kill -KILL "$shim" $children || true
  done
}
ready() { get "api/v1/nodes/$1" | tr -d ' \n' | grep -q '"type":"Ready","status":"True"'; }
usable() {
  get api/v1/namespaces/default/serviceaccounts/default && get api/v1/namespaces/default/configmaps/kube-root-ca.crt || return 1
  for node in "${nodes[@]}"; do ready "$node" || return 1; done
}

nodes=()
for ((n = 1; n <= n_nodes; n++)); do nodes+=("node-$n"); done
[[ -z $packages ]] || prepare_machine
for node in "${nodes[@]}"; do
  prepare_node "$node"
  start "containerd-${node#node-}"
done
start etcd
start kube-apiserver
until_ get readyz
start kube-controller-manager
start kube-scheduler
for node in "${nodes[@]}"; do
  until_ test -S "$node/containerd.sock"
  start "kubelet-${node#node-}"
done
until_ usable
echo "READY $folder/admin.kubeconfig"

while read -r verb name; do
  case $verb in
    start) start "$name" || echo "there is no $name" >&2 ;;
    cut | lose) "$verb" "$name" ;;
    kill) kill -KILL "${process[$name]}" && { wait "${process[$name]}" 2>/dev/null || true; } ;;
    freeze) kill -STOP "${process[$name]}" ;;
    thaw) kill -CONT "${process[$name]}" ;;
    *) echo "what is $verb?" >&2 ;;
  esac
  echo "DONE $verb $name"
done
