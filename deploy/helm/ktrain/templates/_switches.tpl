{{/* Parts that need kinds of the Prometheus operator: auto, true or false. */}}

{{- define "ktrain.hasMonitors" -}}
{{- if .Capabilities.APIVersions.Has "monitoring.coreos.com/v1" }}yes{{ end -}}
{{- end -}}

{{/* (dict "root" $ "name" "podMonitor"): "yes", or nothing. */}}
{{- define "ktrain.isOn" -}}
{{- $wanted := get (get .root.Values .name) "enabled" | toString -}}
{{- $has := include "ktrain.hasMonitors" .root -}}
{{- if and (eq $wanted "true") (not $has) -}}
{{- fail (printf "%s.enabled is true, but this cluster knows no monitoring.coreos.com/v1; install the Prometheus operator first, or leave it at auto" .name) -}}
{{- end -}}
{{- if and $has (ne $wanted "false") }}yes{{ end -}}
{{- end -}}

{{/* Namespaces whose training pods get a NetworkPolicy, as JSON. */}}
{{- define "ktrain.trainingNamespaces" -}}
{{- $own := ternary (list .Values.watchNamespace) list (ne .Values.watchNamespace "") -}}
{{- .Values.trainingNetworkPolicy.enabled | ternary (.Values.trainingNetworkPolicy.namespaces | default $own) list | toJson -}}
{{- end -}}

{{/* Ports at which Prometheus is asked, as JSON: those of the values, or the one of its URL. */}}
{{- define "ktrain.prometheusPorts" -}}
{{- $ports := .Values.networkPolicy.prometheusPorts -}}
{{- with .Values.controller.prometheus -}}
{{- if not $ports -}}
{{- $told := regexFind "[0-9]+$" (regexFind ":[0-9]+$" (urlParse .).host) -}}
{{- $ports = list ($told | default (ternary "443" "80" (hasPrefix "https:" .)) | int) -}}
{{- end -}}
{{- end -}}
{{- $ports | toJson -}}
{{- end -}}
