{{- define "recsys.labels" -}}
app.kubernetes.io/name: recsys
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{/* The labels by which a part (server, trainer) is selected: they never change. */}}
{{- define "recsys.selector" -}}
app.kubernetes.io/name: recsys
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .part }}
{{- end }}

{{/* A new configuration starts pods anew. */}}
{{- define "recsys.annotations" -}}
checksum/config: {{ .Values.config | sha256sum }}
{{- with .Values.podAnnotations }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "recsys.scrape" -}}
prometheus.io/scrape: "true"
prometheus.io/port: {{ . | quote }}
{{- end }}

{{/* What every pod has in common. */}}
{{- define "recsys.pod" -}}
automountServiceAccountToken: false
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  fsGroup: 10001
  seccompProfile: {type: RuntimeDefault}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* What every container has in common. */}}
{{- define "recsys.container" -}}
imagePullPolicy: {{ .Values.imagePullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  capabilities: {drop: [ALL]}
{{- with .Values.secret }}
envFrom:
  - secretRef: {name: {{ . }}}
{{- end }}
{{- end }}

{{/* Volumes and mounts of a container that trains. */}}
{{- define "recsys.trainerMounts" -}}
volumeMounts:
  - {name: config, mountPath: /etc/recsys, readOnly: true}
  - {name: state, mountPath: /var/lib/recsys}
{{- end }}

{{- define "recsys.configVolume" -}}
- name: config
  configMap: {name: {{ .Release.Name }}-recsys}
{{- end }}

{{- define "recsys.rayVolumes" -}}
{{ include "recsys.configVolume" . }}
- name: state
  persistentVolumeClaim: {claimName: {{ .Release.Name }}-trainer}
{{- end }}

{{/* Where checkpoints are kept. */}}
{{- define "recsys.claim" -}}
{{- with .Values.trainer.storage -}}
accessModes: [{{ .mode }}]
{{- with .class }}
storageClassName: {{ . }}
{{- end }}
resources:
  requests: {storage: {{ .size }}}
{{- end }}
{{- end }}

{{/* The version in the image: deploy/locks. */}}
{{- define "recsys.rayVersion" -}}
2.60.0
{{- end }}
