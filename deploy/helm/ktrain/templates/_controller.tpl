{{/* The controller's own: its flags, and the nodes that it runs on. */}}

{{- define "ktrain.args" -}}
{{- $own := .Values.controller -}}
- python
- -m
- ktrain_controller
- --port={{ .Values.port | int }}
- --lease-name={{ include "ktrain.controller" . }}
- --workers={{ $own.workers | int64 }}
- --requests-per-second={{ $own.requestsPerSecond | int64 }}
- --actions-per-minute={{ $own.actionsPerMinute | int64 }}
{{- with .Values.watchNamespace }}
- {{ printf "--namespace=%s" . | quote }}
{{- end }}
{{- with $own.prometheus }}
- {{ printf "--prometheus=%s" . | quote }}
{{- end }}
{{- if $own.dryRun }}
- --dry-run
{{- end }}
{{- with $own.extraArgs }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* For a Prometheus without the operator. */}}
{{- define "ktrain.podAnnotations" -}}
{{- $own := dict "prometheus.io/scrape" "true" "prometheus.io/port" (toString .Values.port) "prometheus.io/path" "/metrics" -}}
{{- merge (dict) .Values.podAnnotations $own | toYaml -}}
{{- end -}}

{{- define "ktrain.placement" -}}
{{- $selector := include "ktrain.selector" (dict "root" . "part" "controller") -}}
affinity:
{{- with .Values.affinity }}
  {{- toYaml . | nindent 2 }}
{{- else }}
  podAntiAffinity:
    preferredDuringSchedulingIgnoredDuringExecution:
      - weight: 100
        podAffinityTerm:
          topologyKey: kubernetes.io/hostname
          labelSelector:
            matchLabels: {{- $selector | nindent 14 }}
{{- end }}
topologySpreadConstraints:
{{- with .Values.topologySpreadConstraints }}
  {{- toYaml . | nindent 2 }}
{{- else }}
  {{- range tuple "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
  - maxSkew: 1
    topologyKey: {{ . }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels: {{- $selector | nindent 8 }}
  {{- end }}
{{- end }}
tolerations:
{{- range tuple "not-ready" "unreachable" }}
  - {key: node.kubernetes.io/{{ . }}, operator: Exists, effect: NoExecute, tolerationSeconds: 30}
{{- end }}
{{- with .Values.tolerations }}
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}
