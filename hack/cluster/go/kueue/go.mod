// For the manifests in it: nothing is built, so `go mod tidy` would leave nothing here.
module ktrain.dev/cluster/kueue

go 1.26.0

require sigs.k8s.io/kueue v0.19.0
