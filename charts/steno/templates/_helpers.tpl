{{- /* The image of everything: by digest where one is given. */ -}}
{{- define "steno.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}{{ .repository }}@{{ .digest }}{{- else -}}{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}{{- end -}}
{{- end -}}
{{- end -}}

{{- /* Labels of every object. Call with (dict "context" $ "component" "webhook"); the component may be absent. */ -}}
{{- define "steno.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .context.Chart.Name .context.Chart.Version }}
app.kubernetes.io/version: {{ .context.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .context.Release.Service }}
app.kubernetes.io/part-of: steno
{{ include "steno.selector" . }}
{{- end -}}

{{- /* What selects a component's pods; never changes, since a Deployment's selector cannot. */ -}}
{{- define "steno.selector" -}}
app.kubernetes.io/name: steno
app.kubernetes.io/instance: {{ .context.Release.Name }}
{{- with .component }}
app.kubernetes.io/component: {{ . }}
{{- end }}
{{- end -}}

{{- /* Pod Security `restricted`, and the image's own user. */ -}}
{{- define "steno.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 64242
runAsGroup: 64242
fsGroup: 64242
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "steno.containerSecurityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{- define "steno.pullSecrets" -}}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end -}}

{{- /* Of webhook, control and relay alike. The probes' port also serves /metrics. */ -}}
{{- define "steno.serverContainer" -}}
image: {{ include "steno.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
env:
  - name: POD_NAME
    valueFrom: { fieldRef: { fieldPath: metadata.name } }
  - name: POD_NAMESPACE
    valueFrom: { fieldRef: { fieldPath: metadata.namespace } }
ports:
  - { name: https, containerPort: 8443 }
  - { name: metrics, containerPort: 8080 }
startupProbe:
  httpGet: { path: /healthz, port: metrics }
  periodSeconds: 1
  failureThreshold: 60
readinessProbe:
  httpGet: { path: /readyz, port: metrics }
  periodSeconds: 2
livenessProbe:
  httpGet: { path: /healthz, port: metrics }
  periodSeconds: 10
  failureThreshold: 6
securityContext:
  {{- include "steno.containerSecurityContext" . | nindent 2 }}
terminationMessagePolicy: FallbackToLogsOnError
{{- end -}}

{{- /* Spread over nodes and zones where there are several; never a reason not to run. */ -}}
{{- define "steno.spread" -}}
topologySpreadConstraints:
  {{- range $key := list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
  - maxSkew: 1
    topologyKey: {{ $key }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "steno.selector" $ | nindent 8 }}
  {{- end }}
{{- end -}}
