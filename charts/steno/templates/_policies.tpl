{{/*
What the admission policies share: names, labels, the match on opted-in namespaces, and bindings.

`admissionPolicies` of the values has four switches, all with a default, so that several releases' policies can stand side by side in a test:
`enabled`, `namePrefix`, `injectLabel` (the key of the namespaces' label) and `parametersGroup` (the API group of AdmissionParameters).
*/}}
{{- define "steno.policies.enabled" -}}
{{- $settings := .Values.admissionPolicies | default dict -}}
{{- if ne (toString (get $settings "enabled")) "false" }}true{{ end -}}
{{- end -}}

{{- define "steno.policies.prefix" -}}
{{- $settings := .Values.admissionPolicies | default dict -}}
{{- $settings.namePrefix | default "steno" -}}
{{- end -}}

{{- define "steno.policies.injectLabel" -}}
{{- $settings := .Values.admissionPolicies | default dict -}}
{{- $settings.injectLabel | default "steno.dev/inject" -}}
{{- end -}}

{{- define "steno.policies.parametersGroup" -}}
{{- $settings := .Values.admissionPolicies | default dict -}}
{{- $settings.parametersGroup | default "steno.dev" -}}
{{- end -}}

{{/* Metadata of a policy and of its binding. Takes `root` and `name`, which is the policy's without the prefix. */}}
{{- define "steno.policies.metadata" -}}
name: {{ include "steno.policies.prefix" .root }}-{{ .name }}
labels:
  app.kubernetes.io/name: steno
  app.kubernetes.io/instance: {{ .root.Release.Name }}
  app.kubernetes.io/component: admission-policies
  app.kubernetes.io/managed-by: {{ .root.Release.Service }}
{{- end -}}

{{/* Opted-in namespaces. */}}
{{- define "steno.policies.namespaceSelector" -}}
namespaceSelector:
  matchLabels:
    {{ include "steno.policies.injectLabel" . }}: enabled
  # Steno's own pods have no sidecar; opted in by mistake, they must still start.
  matchExpressions:
    - { key: kubernetes.io/metadata.name, operator: NotIn, values: [{{ .Release.Namespace }}] }
{{- end -}}

{{/* The parameters' kind, for policies that compare with what the release and the ClusterSessionPolicies say. */}}
{{- define "steno.policies.paramKind" -}}
paramKind:
  apiVersion: {{ include "steno.policies.parametersGroup" . }}/v1alpha1
  kind: AdmissionParameters
{{- end -}}

{{/* The binding of a policy. Takes `root`, `name` and `parameters` (true when the policy has a paramKind). Missing parameters deny. */}}
{{- define "steno.policies.binding" -}}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata:
  {{- include "steno.policies.metadata" . | nindent 2 }}
spec:
  policyName: {{ include "steno.policies.prefix" .root }}-{{ .name }}
  validationActions: [Deny]
  {{- if .parameters }}
  paramRef:
    name: steno
    parameterNotFoundAction: Deny
  {{- end }}
{{- end -}}

{{/* CEL: a user's name as a literal, of one of steno's own accounts. Takes `root` and `component`. */}}
{{- define "steno.policies.account" -}}
'system:serviceaccount:{{ .root.Release.Namespace }}:steno-{{ .component }}'
{{- end -}}

{{/* Policies that bound steno's own accounts are about these alone, so that no fault in one stops anybody else. Takes `root` and `components`. */}}
{{- define "steno.policies.ownAccounts" -}}
matchConditions:
  - name: is-steno
    expression: >-
      request.userInfo.username in [{{ range $at, $component := .components }}{{ if $at }}, {{ end }}{{ include "steno.policies.account" (dict "root" $.root "component" $component) }}{{ end }}]
{{- end -}}

{{/* CEL variables of a pod that is created: its init containers and, among them, the sidecar: a list of none or one, for names are unique. */}}
{{- define "steno.policies.sidecarVariables" -}}
- name: inits
  expression: "has(object.spec.initContainers) ? object.spec.initContainers : []"
- name: sidecar
  expression: "variables.inits.filter(c, c.name == 'steno')"
{{- end -}}

{{/*
CEL variables of a pod that is created or given ephemeral containers: every container but the sidecar, as far as the request brings it.
The three lists have different types, hence dyn. Ephemeral containers that were there before cannot be changed and are not judged again.
*/}}
{{- define "steno.policies.otherContainersVariables" -}}
- name: had
  expression: "oldObject != null && has(oldObject.spec.ephemeralContainers) ? oldObject.spec.ephemeralContainers.map(c, c.name) : []"
- name: ephemeral
  expression: "has(object.spec.ephemeralContainers) ? object.spec.ephemeralContainers.filter(c, !(c.name in variables.had)) : []"
- name: inits
  expression: "request.operation == 'CREATE' && has(object.spec.initContainers) ? object.spec.initContainers.filter(c, c.name != 'steno') : []"
- name: regular
  expression: "request.operation == 'CREATE' ? object.spec.containers : []"
- name: others
  expression: "dyn(variables.regular) + dyn(variables.inits) + dyn(variables.ephemeral)"
{{- end -}}

{{/* Rules: pods that are created, and ephemeral containers that are added. */}}
{{- define "steno.policies.podAndEphemeralRules" -}}
- apiGroups: [""]
  apiVersions: [v1]
  resources: [pods]
  operations: [CREATE]
- apiGroups: [""]
  apiVersions: [v1]
  resources: [pods/ephemeralcontainers]
  operations: [UPDATE]
{{- end -}}
