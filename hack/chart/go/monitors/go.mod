// For the definitions in it: nothing is built, so `go mod tidy` would leave nothing here.
module ktrain.dev/chart/monitors

go 1.26.0

require github.com/prometheus-operator/prometheus-operator v0.85.0
