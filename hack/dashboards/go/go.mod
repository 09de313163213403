module ktrain.dev/hack/dashboards

go 1.26
