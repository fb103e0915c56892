{{/* The operator's settings, which it takes from its environment alone. */}}
{{- define "operator.environment" -}}
{{- $fullname := include "operator.fullname" . -}}
- name: NOVACULA_NAMESPACE
  valueFrom:
    fieldRef:
      fieldPath: metadata.namespace
- name: NOVACULA_POD
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
{{- $settings := list
  (list "NOVACULA_DEPLOYMENT" $fullname)
  (list "NOVACULA_CONTAINER" "operator")
  (list "NOVACULA_SECRET" (printf "%s-identity" $fullname))
  (list "NOVACULA_LEASE" $fullname)
  (list "NOVACULA_READY_FILE" "/run/novacula/ready")
  (list "NOVACULA_JOIN_TOKEN_FILE" (ternary "/etc/novacula/join-token/token" "" (ne (include "operator.joinTokenSecret" .) "")))
  (list "NOVACULA_SERVICE_ACCOUNT_TOKEN_FILE" (ternary "/etc/novacula/service-account/token" "" .Values.serviceAccountEnrolment.enabled))
  (list "NOVACULA_ENDPOINT" .Values.controlPlane.endpoint)
  (list "NOVACULA_CA_FILE" (ternary "/etc/novacula/authorities/control-plane.pem" "" (ne .Values.controlPlane.authority "")))
  (list "NOVACULA_EXECUTOR_NAME" .Values.executorName)
  (list "NOVACULA_CHANNEL" .Values.channel)
  (list "NOVACULA_CHANNEL_CEILING" .Values.channelCeiling)
  (list "NOVACULA_PIN" (ternary .Values.image.pinReason "" .Values.image.pin))
  (list "NOVACULA_PULL_SECRETS" (join "," .Values.image.pullSecrets))
  (list "NOVACULA_REGISTRY_MIRRORS" (join "," .Values.registry.mirrors))
  (list "NOVACULA_REGISTRY_CA_FILE" (ternary "/etc/novacula/authorities/registry.pem" "" (ne .Values.registry.authority "")))
  (list "NOVACULA_PLAIN_HTTP_REGISTRIES" (join "," .Values.registry.plainHttp))
  (list "NOVACULA_MONITOR_WINDOW" .Values.rollout.monitorWindow)
  (list "NOVACULA_PATIENCE_PULL" (printf "%ds" (int .Values.rollout.patience.pullSeconds)))
  (list "NOVACULA_PATIENCE_CONTAINER" (printf "%ds" (int .Values.rollout.patience.containerSeconds)))
  (list "NOVACULA_PATIENCE_UNSCHEDULABLE" (printf "%ds" (int .Values.rollout.patience.unschedulableSeconds)))
  (list "NOVACULA_PATIENCE_REFUSED" (printf "%ds" (int .Values.rollout.patience.refusedSeconds)))
  (list "NOVACULA_LOG_LEVEL" .Values.logs.level)
  (list "NOVACULA_LOG_FORMAT" .Values.logs.format)
-}}
{{- range $settings }}
{{- if index . 1 }}
- name: {{ index . 0 }}
  value: {{ index . 1 | quote }}
{{- end }}
{{- end }}
{{- end -}}
