{{/* Names. */}}
{{- define "server.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "server.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else if contains (include "server.name" .) .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "server.name" .) | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Of one component's pods: `server`, or the Job that migrates. */}}
{{- define "server.selector" -}}
app.kubernetes.io/name: {{ include "server.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "server.labels" -}}
{{ include "server.selector" . }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "server.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}{{ .repository }}@{{ .digest }}{{- else -}}{{ .repository }}:{{ .tag }}{{- end -}}
{{- end -}}
{{- end -}}

{{- define "server.artifactsClaim" -}}
{{- default (printf "%s-artifacts" (include "server.fullname" .)) .Values.artifacts.existingClaim -}}
{{- end -}}

{{/* What no schema can say; all of it at once. */}}
{{- define "server.check" -}}
{{- $wrong := list -}}
{{- with .Values -}}
{{- if not .image.repository -}}
{{- $wrong = append $wrong "image.repository is empty: say where the control plane's image is, such as registry.example/novacula/server" -}}
{{- end -}}
{{- if not .image.digest -}}
{{- if not .image.allowTag -}}
{{- $wrong = append $wrong "image.digest is empty: name the image by its digest (sha256:…), which no one can move; image.allowTag lets image.tag name it" -}}
{{- else if not .image.tag -}}
{{- $wrong = append $wrong "image.tag is empty: image.allowTag lets a tag name the image, and there is none" -}}
{{- end -}}
{{- end -}}
{{- if not .executorEndpoint -}}
{{- $wrong = append $wrong "executorEndpoint is empty: say host:port by which executors reach the Service of the executors; join tokens carry it" -}}
{{- end -}}
{{- if not .secret.existing -}}
{{- $wrong = append $wrong "secret.existing is empty: make a Secret with the database's URL and the encryption key, and name it" -}}
{{- end -}}
{{- if and (not .artifacts.shared) .artifacts.existingClaim -}}
{{- $wrong = append $wrong "artifacts.existingClaim names a claim, and artifacts.shared is false: choose one" -}}
{{- end -}}
{{- if and (ne .artifacts.accessMode "ReadWriteMany") (gt (int .replicas) 1) .artifacts.shared (not .artifacts.existingClaim) -}}
{{- $wrong = append $wrong "artifacts.accessMode lets one node mount the artifacts, and replicas are more than one: ReadWriteMany" -}}
{{- end -}}
{{- if and .trustedClusters (not (hasKey .trustedClusters "trusted-clusters.toml")) -}}
{{- $wrong = append $wrong "trustedClusters lacks trusted-clusters.toml: it is the file that names the others" -}}
{{- end -}}
{{- if and .migrate.existingSecret (not .migrate.enabled) -}}
{{- $wrong = append $wrong "migrate.existingSecret is set, and migrate.enabled is false: nobody would use it" -}}
{{- end -}}
{{- end -}}
{{- if $wrong -}}
{{- fail (printf "\n  - %s\n" (join "\n  - " $wrong)) -}}
{{- end -}}
{{- end -}}

{{/* One rule of the network: to whom (anybody, where there are no addresses), and on which ports. */}}
{{- define "server.egress" -}}
- ports:
    {{- range .ports }}
    - port: {{ int . }}
      protocol: TCP
    {{- end }}
  {{- with .cidrs }}
  to:
    {{- range . }}
    - ipBlock:
        cidr: {{ . }}
    {{- end }}
  {{- end }}
{{- end -}}

{{/* What replicas and the Job may dial. */}}
{{- define "server.network" -}}
{{- with .Values.networkPolicy -}}
- ports:
    {{- range .dns.ports }}
    - port: {{ int . }}
      protocol: UDP
    - port: {{ int . }}
      protocol: TCP
    {{- end }}
# The database.
{{ include "server.egress" .database }}
{{- if .others.ports }}
{{ include "server.egress" .others }}
{{- end }}
{{- end -}}
{{- end -}}

{{/* What every pod of ours must not be able to do. */}}
{{- define "server.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
# It may read the secret, and write the volumes.
fsGroup: 65532
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "server.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: ["ALL"]
{{- end -}}

{{/* URLs come from the environment: they hold passwords. */}}
{{- define "server.databaseEnvironment" -}}
- name: NOVACULA_DATABASE_URL
  valueFrom:
    secretKeyRef:
      name: {{ .secret }}
      key: {{ .root.Values.secret.databaseUrlKey }}
{{- with .root.Values.secret.databaseListenUrlKey }}
- name: NOVACULA_DATABASE_LISTEN_URL
  valueFrom:
    secretKeyRef:
      name: {{ $.secret }}
      key: {{ . }}
{{- end }}
{{- end -}}

{{/* One setting as TOML: numbers come as floats from YAML. */}}
{{- define "server.toml" -}}
{{- if kindIs "string" . -}}{{ toJson . }}{{- else -}}{{ int64 . }}{{- end -}}
{{- end -}}

{{/* server.toml */}}
{{- define "server.settings" -}}
{{- $fullname := include "server.fullname" . -}}
{{- $names := .Values.serverNames -}}
{{- range list "api" "executors" -}}
{{- $names = concat $names (list (printf "%s-%s" $fullname .) (printf "%s-%s.%s.svc" $fullname . $.Release.Namespace)) -}}
{{- end -}}
data_dir = "/var/lib/novacula-server"
api_listen = "0.0.0.0:7443"
executor_listen = "0.0.0.0:7444"
# As hosts outside the cluster reach the Service of the executors; join tokens carry it.
executor_endpoint = {{ .Values.executorEndpoint | quote }}
# As people, programs and executors call, inside the cluster and outside.
server_names = {{ uniq $names | join "," | quote }}
# One authority for all replicas, in the database; executors trust it, and this opens its key.
authority_encryption_key_file = "/etc/novacula/secret/{{ .Values.secret.encryptionKeyKey }}"
{{- if .Values.tls.existingSecret }}
tls_certificate = "/etc/novacula/tls/tls.crt"
tls_key = "/etc/novacula/tls/tls.key"
{{- end }}
{{- if .Values.authority.existingSecret }}
authority_certificate = "/etc/novacula/authority/tls.crt"
authority_key = "/etc/novacula/authority/tls.key"
{{- end }}
{{- if .Values.releaseKeys }}
release_keys = "/etc/novacula/release-keys.pub"
{{- end }}
{{- if .Values.trustedClusters }}
trusted_clusters = "/etc/novacula/clusters/trusted-clusters.toml"
{{- end }}
{{- if .Values.oidc.existingSecret }}
oidc = "/etc/novacula/oidc/oidc.toml"
{{- end }}
{{- range $key, $value := .Values.settings }}
{{ $key }} = {{ include "server.toml" $value }}
{{- end }}
{{- end -}}
