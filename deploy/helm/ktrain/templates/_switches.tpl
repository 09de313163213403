{{/* Parts that need kinds of the Prometheus operator: auto, true or false. */}}

{{/* (dict "root" $ "kind" "PodMonitor"): "yes" where the cluster knows it. A cluster names kinds; `--api-versions` may not. */}}
{{- define "ktrain.knows" -}}
{{- $version := "monitoring.coreos.com/v1" -}}
{{- $kinds := list -}}
{{- range .root.Capabilities.APIVersions -}}
{{- if hasPrefix (printf "%s/" $version) . }}{{ $kinds = append $kinds (base .) }}{{ end -}}
{{- end -}}
{{- if or (has .kind $kinds) (and (not $kinds) (.root.Capabilities.APIVersions.Has $version)) }}yes{{ end -}}
{{- end -}}

{{- define "ktrain.kinds" -}}
{podMonitor: PodMonitor, serviceMonitor: ServiceMonitor, alerts: PrometheusRule}
{{- end -}}

{{/* (dict "root" $ "name" "podMonitor"): "yes", or nothing. */}}
{{- define "ktrain.isOn" -}}
{{- $wanted := get (get .root.Values .name) "enabled" | toString -}}
{{- $kind := get (include "ktrain.kinds" . | fromYaml) .name -}}
{{- $has := include "ktrain.knows" (dict "root" .root "kind" $kind) -}}
{{- if and (eq $wanted "true") (not $has) -}}
{{- fail (printf "%s.enabled is true, but this cluster knows no %s of monitoring.coreos.com/v1; install the Prometheus operator first, or leave it at auto" .name $kind) -}}
{{- end -}}
{{- if and $has (ne $wanted "false") }}yes{{ end -}}
{{- end -}}

{{/* Kinds that are wanted, and that the cluster does not know; as JSON. */}}
{{- define "ktrain.leftOut" -}}
{{- $missing := list -}}
{{- range $name, $kind := include "ktrain.kinds" . | fromYaml -}}
{{- if and (ne (get (get $.Values $name) "enabled" | toString) "false") (not (include "ktrain.knows" (dict "root" $ "kind" $kind))) -}}
{{- $missing = append $missing $kind -}}
{{- end -}}
{{- end -}}
{{- sortAlpha $missing | toJson -}}
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
