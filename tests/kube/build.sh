#!/bin/sh
# A whole Kubernetes for the suites, built from Go modules alone: build.sh DIRECTORY
#
# Leaves kubeone there (etcd, API server, controllers, scheduler, kubelet and kubectl in one program, by a link's name), and helm3 of
# the same module, which shares most of its packages with it. About five minutes on two cores and 4 GB of caches when nothing is
# there; deploy/dev/parts calls it once per content of this folder and keeps what it built.
set -eu
out=$(cd "$1" && pwd)
cd "$(dirname "$0")"
version=1.36.3 at=k8s.io/component-base/version
# What the API server and the node report: a chart may ask for a range of versions.
stamp="-X $at.gitVersion=v$version -X $at.gitMajor=1 -X $at.gitMinor=36 -X $at.gitTreeState=clean"
stamp="$stamp -X $at.gitCommit=0000000000000000000000000000000000000000 -X $at.buildDate=2026-01-01T00:00:00Z"
export CGO_ENABLED=0
go build -trimpath -buildvcs=false -ldflags "-s -w $stamp" -o "$out/kubeone" .
for name in etcd kube-apiserver kube-controller-manager kube-scheduler kubelet kubectl; do ln -sf kubeone "$out/$name"; done
go build -trimpath -buildvcs=false -ldflags '-s -w' -o "$out/helm3" helm.sh/helm/v3/cmd/helm
