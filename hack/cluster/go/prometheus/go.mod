// Its sources are built as a module of their own, by its own go.sum, so `go mod tidy` would leave nothing here.
module ktrain.dev/cluster/prometheus

go 1.26.0

require github.com/prometheus/prometheus v0.309.1
