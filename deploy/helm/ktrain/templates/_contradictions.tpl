{{/* Options that exclude each other; what is wrong by itself is the schema's affair. */}}

{{- define "ktrain.contradictions" -}}
{{- $values := .Values -}}
{{- if and (not $values.serviceAccount.create) (not $values.serviceAccount.name) -}}
{{- fail "serviceAccount.create is false, so serviceAccount.name has to say which account the controller uses" -}}
{{- end -}}
{{- range $values.trainingNetworkPolicy.namespaces -}}
{{- if and $values.watchNamespace (ne . $values.watchNamespace) -}}
{{- fail (printf "trainingNetworkPolicy.namespaces has %q, but watchNamespace is %q: the controller sees no other; leave namespaces empty, or watchNamespace" . $values.watchNamespace) -}}
{{- end -}}
{{- end -}}
{{- if and $values.check.storage.secret (not $values.check.storage.url) -}}
{{- fail "check.storage.secret is set, but check.storage.url is empty; say which storage the keys are for, or leave both empty" -}}
{{- end -}}
{{- if and $values.networkPolicy.prometheusPorts (not $values.controller.prometheus) -}}
{{- fail "networkPolicy.prometheusPorts is set, but controller.prometheus is empty; say which Prometheus, or leave both empty" -}}
{{- end -}}
{{- include "ktrain.contradictoryBudget" . -}}
{{- include "ktrain.contradictoryFlags" . -}}
{{- include "ktrain.contradictoryLabels" . -}}
{{- end -}}

{{/* Kubernetes rounds a share up: 51 % of two are two. */}}
{{- define "ktrain.contradictoryBudget" -}}
{{- $budget := .Values.podDisruptionBudget -}}
{{- $replicas := int .Values.replicas -}}
{{- $most := toString $budget.maxUnavailable -}}
{{- $missing := hasSuffix "%" $most | ternary (div (add 99 (mul (trimSuffix "%" $most | atoi) $replicas)) 100) (atoi $most) | int -}}
{{- if and $budget.enabled (gt $replicas 1) (ge $missing $replicas) -}}
{{- fail (printf "podDisruptionBudget.maxUnavailable is %v and replicas is %d, so all may be missing; lower it, or set podDisruptionBudget.enabled to false" $most $replicas) -}}
{{- end -}}
{{- end -}}

{{- define "ktrain.contradictoryFlags" -}}
{{- $values := .Values -}}
{{- range $given := $values.controller.extraArgs -}}
{{- $flag := regexFind "^--[a-z-]+" $given -}}
{{- if has $flag (list "--lease-name" "--namespace" "--port" "--prometheus" "--dry-run" "--workers" "--requests-per-second" "--actions-per-minute") -}}
{{- fail (printf "controller.extraArgs has %s, which the chart sets itself; use its own value for it" $given) -}}
{{- end -}}
{{- if has $flag (list "--identity" "--lease-namespace" "--bind") -}}
{{- fail (printf "controller.extraArgs has %s, which this chart does not allow: each replica needs an identity of its own, the Lease that it may write, and a port that the kubelet reaches" $given) -}}
{{- end -}}
{{- if and $values.watchNamespace $values.rbac.create (eq $flag "--nodes") -}}
{{- fail (printf "controller.extraArgs has --nodes, but watchNamespace is %q, and its Role cannot read nodes; leave one of them out, or set rbac.create to false and make the roles yourself" $values.watchNamespace) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "ktrain.contradictoryLabels" -}}
{{- $values := .Values -}}
{{- $given := dict "commonLabels" $values.commonLabels "dashboards.label" (dict $values.dashboards.label "") -}}
{{- range tuple "podMonitor" "serviceMonitor" "alerts" -}}
{{- $_ := set $given (printf "%s.additionalLabels" .) (get $values .).additionalLabels -}}
{{- end -}}
{{- range $where, $labels := $given -}}
{{- range $name, $_ := $labels -}}
{{- if or (hasPrefix "app.kubernetes.io/" $name) (eq $name "helm.sh/chart") -}}
{{- fail (printf "%s has %s, which the chart sets itself; choose another name for it" $where $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
