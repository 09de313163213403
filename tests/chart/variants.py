"""Values that between them have each part of the chart on and off."""

from typing import Any, Final

Values = dict[str, Any]
NAMESPACED: Final[Values] = {"watchNamespace": "research"}
EVERYTHING: Final[Values] = {
    "commonLabels": {"team": "ml", "release": "ours"},
    "image": {"repository": "registry.example/ktrain-controller", "digest": f"sha256:{'0' * 64}", "pullSecrets": [{"name": "pull"}]},
    "controller": {
        "prometheus": "http://prometheus.monitoring:9090", "dryRun": True, "extraArgs": ["--node-seconds=60"],
        "extraEnv": [{"name": "SSL_CERT_FILE", "value": "/ca/ca.crt"}],
        "extraVolumes": [{"name": "ca", "configMap": {"name": "ca"}}],
        "extraVolumeMounts": [{"name": "ca", "mountPath": "/ca", "readOnly": True}],
    },
    "serviceAccount": {"annotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/ktrain"}},
    "nodeSelector": {"pool": "system"},
    "tolerations": [{"key": "system", "operator": "Exists"}],
    "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
        {"matchExpressions": [{"key": "gpu", "operator": "DoesNotExist"}]},
    ]}}},
    "topologySpreadConstraints": [
        {"maxSkew": 1, "topologyKey": "rack", "whenUnsatisfiable": "ScheduleAnyway",
         "labelSelector": {"matchLabels": {"app.kubernetes.io/name": "ktrain"}}},
    ],
    "priorityClassName": "important",
    "podAnnotations": {"example.com/a": "b", "prometheus.io/scrape": "false"},
    "podDisruptionBudget": {"maxUnavailable": "50%"},
    "networkPolicy": {"metricsFrom": [{"namespaceSelector": {}}], "trainingPorts": [9400, 9500]},
    "trainingNetworkPolicy": {"namespaces": ["research", "production"]},
    "podMonitor": {"additionalLabels": {"release": "prometheus"}},
    "serviceMonitor": {"additionalLabels": {"release": "prometheus"}},
    "alerts": {"additionalLabels": {"release": "prometheus"}},
    "dashboards": {"annotations": {"grafana_folder": "ktrain"}, "namespace": "monitoring"},
    "check": {"storage": {"url": "s3://bucket/runs", "secret": "s3", "endpoint": "http://s3.example:9000", "region": "eu"}},
    "extraObjects": [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "{{ .Release.Name }}-more"}, "data": {"a": "b"}},
    ],
}  # fmt: skip
BARE: Final[Values] = {
    "replicas": 1,
    "serviceAccount": {"create": False, "name": "somebody"},
    "rbac": {"create": False},
    "people": {"create": False},
    "podDisruptionBudget": {"enabled": False},
    "networkPolicy": {"enabled": False},
    "trainingNetworkPolicy": {"enabled": False},
    "podMonitor": {"enabled": False},
    "serviceMonitor": {"enabled": False},
    "alerts": {"enabled": False},
    "dashboards": {"enabled": False},
}
NUMBERS: Final[Values] = {
    "watchNamespace": "2024",
    "image": {"pullSecrets": [{"name": "7"}]},
    "controller": {"requestsPerSecond": 10_000, "actionsPerMinute": 10_000_000},
    "serviceAccount": {"create": False, "name": "1"},
    "priorityClassName": "1e3",
    "check": {"storage": {"url": "s3://bucket/runs:", "secret": "0", "region": "1"}},
}
"""Names that YAML takes for numbers, and numbers that Helm writes as `1e+07`."""
VARIANTS: Final = {"default": {}, "namespaced": NAMESPACED, "everything": EVERYTHING, "bare": BARE, "numbers": NUMBERS}
