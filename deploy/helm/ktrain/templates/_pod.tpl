{{/* What the controller's pods and that of `helm test` have in common. */}}

{{- define "ktrain.image" -}}
{{- $image := .Values.image -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $image.repository $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $image.repository ($image.tag | default .Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{- define "ktrain.pullPolicy" -}}
{{- .Values.image.pullPolicy | default (ternary "Always" "IfNotPresent" (ne .Values.image.digest "")) -}}
{{- end -}}

{{/* Of the pod: no privileges, and no token but the one that is mounted below. */}}
{{- define "ktrain.podSettings" -}}
serviceAccountName: {{ include "ktrain.account" . | quote }}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  seccompProfile: {type: RuntimeDefault}
{{- with .Values.image.pullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
nodeSelector: {{- merge (dict) .Values.nodeSelector (dict "kubernetes.io/os" "linux") | toYaml | nindent 2 }}
{{- end -}}

{{- define "ktrain.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
capabilities: {drop: [ALL]}
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "ktrain.mounts" -}}
- {name: account, mountPath: /var/run/secrets/kubernetes.io/serviceaccount, readOnly: true}
- {name: tmp, mountPath: /tmp}
{{- with .Values.controller.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* The account as Kubernetes would mount it, but with a token that ends. */}}
{{- define "ktrain.volumes" -}}
- name: account
  projected:
    defaultMode: 288 # 0440, which not every reader of YAML takes for octal
    sources:
      - serviceAccountToken: {path: token, expirationSeconds: {{ .Values.serviceAccount.tokenSeconds | int }}}
      - configMap: {name: kube-root-ca.crt, items: [{key: ca.crt, path: ca.crt}]}
      - downwardAPI: {items: [{path: namespace, fieldRef: {apiVersion: v1, fieldPath: metadata.namespace}}]}
- name: tmp
  emptyDir: {sizeLimit: 16Mi}
{{- with .Values.controller.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}
