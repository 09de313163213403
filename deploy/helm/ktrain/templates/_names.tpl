{{/* What objects are called, and their labels. */}}

{{/* A release's name may have dots and begin with a digit; a Service's may not. */}}
{{- define "ktrain.fullname" -}}
{{- $release := .Release.Name | replace "." "-" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else if not (regexMatch "^[a-z]" $release) -}}
{{- printf "ktrain-%s" ($release | trunc 33 | trimAll "-") -}}
{{- else if contains "ktrain" $release -}}
{{- $release | trunc 40 | trimAll "-" -}}
{{- else -}}
{{- printf "%s-ktrain" ($release | trunc 33 | trimAll "-") -}}
{{- end -}}
{{- end -}}

{{/* The Deployment's, its account's and its Lease's. */}}
{{- define "ktrain.controller" -}}
{{- printf "%s-controller" (include "ktrain.fullname" .) -}}
{{- end -}}

{{- define "ktrain.account" -}}
{{- .Values.serviceAccount.name | default (include "ktrain.controller" .) -}}
{{- end -}}

{{/* Where the controller's rights are those of a namespace. */}}
{{- define "ktrain.role" -}}
{{- ternary "Role" "ClusterRole" (ne .Values.watchNamespace "") -}}
{{- end -}}

{{/* (dict "root" $ "part" "controller") */}}
{{- define "ktrain.selector" -}}
app.kubernetes.io/name: ktrain
app.kubernetes.io/instance: {{ .root.Release.Name | quote }}
app.kubernetes.io/component: {{ .part }}
{{- end -}}

{{/*
(dict "root" $ "part" "controller"), and "more" labels, which win over the common ones.
managed-by is never `ktrain`: that is how training pods are known.
*/}}
{{- define "ktrain.labels" -}}
{{ include "ktrain.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: ktrain
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name (.root.Chart.Version | replace "+" "_") }}
{{- with merge (dict) (.more | default dict) .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}
