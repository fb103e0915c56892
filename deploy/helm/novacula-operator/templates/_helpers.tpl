{{/* Names. */}}
{{- define "operator.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "operator.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else if contains (include "operator.name" .) .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "operator.name" .) | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "operator.selector" -}}
app.kubernetes.io/name: {{ include "operator.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "operator.labels" -}}
{{ include "operator.selector" . }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* The Secret that holds the join token; empty with neither. */}}
{{- define "operator.joinTokenSecret" -}}
{{- if .Values.joinToken.existingSecret -}}
{{- .Values.joinToken.existingSecret -}}
{{- else if .Values.joinToken.value -}}
{{- include "operator.fullname" . }}-join-token
{{- end -}}
{{- end -}}

{{/* The image of the values. */}}
{{- define "operator.chartImage" -}}
{{- with .Values.image -}}
{{- if .digest -}}{{ .repository }}@{{ .digest }}{{- else -}}{{ .repository }}:{{ .tag }}{{- end -}}
{{- end -}}
{{- end -}}

{{/*
The image that the operator has moved to, if the Deployment still runs it; empty otherwise.

The operator writes what it moved to beside the image, in one patch. Equal: nobody has changed the image since, and it stays. Not
equal: a person has, and these values are the later word. Without a cluster (`helm template`) there is nothing to keep.
*/}}
{{- define "operator.movedTo" -}}
{{- $live := include "operator.live" . | fromJson -}}
{{- if and (not .Values.image.pin) $live.image (eq $live.image $live.moved) -}}{{ $live.image }}{{- end -}}
{{- end -}}

{{/* What the Deployment in the cluster runs, and what the operator last moved to: both empty where there is none. */}}
{{- define "operator.live" -}}
{{- $live := lookup "apps/v1" "Deployment" .Release.Namespace (include "operator.fullname" .) -}}
{{- $image := "" -}}
{{- range dig "spec" "template" "spec" "containers" (list) $live -}}
{{- if eq .name "operator" -}}{{- $image = .image -}}{{- end -}}
{{- end -}}
{{- dict "image" $image "moved" (dig "metadata" "annotations" "novacula.dev/image" "" $live) | toJson -}}
{{- end -}}

{{- define "operator.image" -}}
{{- default (include "operator.chartImage" .) (include "operator.movedTo" .) -}}
{{- end -}}

{{/* What no schema can say; all of it at once. */}}
{{- define "operator.check" -}}
{{- $wrong := list -}}
{{- with .Values -}}
{{- if not .image.repository -}}
{{- $wrong = append $wrong "image.repository is empty: say where the operator's image is, such as registry.example/novacula/operator" -}}
{{- end -}}
{{- if not .image.digest -}}
{{- if not .image.allowTag -}}
{{- $wrong = append $wrong "image.digest is empty: name the image by its digest (sha256:…), which no one can move; image.allowTag lets image.tag name it" -}}
{{- else if not .image.tag -}}
{{- $wrong = append $wrong "image.tag is empty: image.allowTag lets a tag name the image, and there is none" -}}
{{- end -}}
{{- end -}}
{{- if and .joinToken.existingSecret .joinToken.value -}}
{{- $wrong = append $wrong "joinToken has existingSecret and value: say one of them" -}}
{{- end -}}
{{- $token := or .joinToken.existingSecret .joinToken.value -}}
{{- if and $token .serviceAccountEnrolment.enabled -}}
{{- $wrong = append $wrong "joinToken and serviceAccountEnrolment are two ways to enrol: choose one" -}}
{{- end -}}
{{- if not (or $token .serviceAccountEnrolment.enabled) -}}
{{- $wrong = append $wrong "there is no way to enrol: name a Secret with a join token in joinToken.existingSecret, or enable serviceAccountEnrolment" -}}
{{- end -}}
{{- if and .controlPlane.authority (not .serviceAccountEnrolment.enabled) -}}
{{- $wrong = append $wrong "controlPlane.authority is for serviceAccountEnrolment: a join token names the authority itself" -}}
{{- end -}}
{{- if .serviceAccountEnrolment.enabled -}}
{{- if not .controlPlane.endpoint -}}
{{- $wrong = append $wrong "controlPlane.endpoint is empty: serviceAccountEnrolment has no token that would carry it (host:port)" -}}
{{- end -}}
{{- if not .controlPlane.authority -}}
{{- $wrong = append $wrong "controlPlane.authority is empty: serviceAccountEnrolment has no token that would carry its fingerprint (PEM)" -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if $wrong -}}
{{- fail (printf "\n  - %s\n" (join "\n  - " $wrong)) -}}
{{- end -}}
{{- end -}}

{{/* A port that addresses (host:port, or registry=host:port) end in, 443 where there is none, beside a list of ports: as a JSON list. */}}
{{- define "operator.ports" -}}
{{- $ports := list -}}
{{- range .ports -}}{{- $ports = append $ports (int .) -}}{{- end -}}
{{- range .addresses -}}
{{- $port := regexFind ":[0-9]+$" . | trimPrefix ":" -}}
{{- $ports = append $ports (ternary 443 (int $port) (eq $port "")) -}}
{{- end -}}
{{- uniq $ports | toJson -}}
{{- end -}}

{{/* One rule of the network: to whom (anybody, where there are no addresses), and on which ports. */}}
{{- define "operator.egress" -}}
- ports:
    {{- range include "operator.ports" . | fromJsonArray }}
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
