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
{{- $budget := $values.podDisruptionBudget -}}
{{- if and $budget.enabled (gt (int $values.replicas) 1) (ge (atoi (toString $budget.maxUnavailable)) (int $values.replicas)) -}}
{{- fail (printf "podDisruptionBudget.maxUnavailable is %v and replicas is %v, so all may be missing; lower it, or set podDisruptionBudget.enabled to false" $budget.maxUnavailable $values.replicas) -}}
{{- end -}}
{{- range tuple "lease-name" "namespace" "port" "prometheus" "dry-run" "workers" "requests-per-second" "actions-per-minute" -}}
{{- $flag := printf "--%s" . -}}
{{- range $values.controller.extraArgs -}}
{{- if or (eq . $flag) (hasPrefix (printf "%s=" $flag) .) -}}
{{- fail (printf "controller.extraArgs has %s, which the chart sets itself; use its own value for it" .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- range $name, $_ := $values.commonLabels -}}
{{- if or (hasPrefix "app.kubernetes.io/" $name) (eq $name "helm.sh/chart") -}}
{{- fail (printf "commonLabels has %s, which the chart sets itself; choose another name for it" $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
