{{/*
Every name begins with the release's name, those of cluster-scoped objects too, so that two releases don't collide.
A release "testinium" and a release "testinium-operator" get the same names: the longer one says nothing more.
*/}}
{{- define "testinium.prefix" -}}
{{- $prefix := default .Release.Name .Values.nameOverride | trimSuffix "-operator" -}}
{{- if gt (len $prefix) 46 -}}
{{- fail (printf "names begin with %q, which is too long: choose a release name, or a nameOverride, of at most 46 characters" $prefix) -}}
{{- end -}}
{{- $prefix -}}
{{- end -}}

{{/* The name of the Deployment, of its Lease, and of most else. */}}
{{- define "testinium.name" -}}
{{- include "testinium.prefix" . }}-operator
{{- end -}}

{{- define "testinium.serviceAccount" -}}
{{- default (ternary (include "testinium.name" .) "default" .Values.serviceAccount.create) .Values.serviceAccount.name -}}
{{- end -}}

{{/* The one label by which pods are found. It can't change while a Deployment lives, so nothing else joins it. */}}
{{- define "testinium.selector" -}}
app.kubernetes.io/name: {{ include "testinium.name" . }}
{{- end -}}

{{/* The labels of every object. Ours win over those of the values. */}}
{{- define "testinium.labels" -}}
{{- $ours := include "testinium.selector" . | fromYaml -}}
{{- $_ := set $ours "app.kubernetes.io/instance" .Release.Name -}}
{{- $_ := set $ours "app.kubernetes.io/part-of" "testinium" -}}
{{- $_ := set $ours "app.kubernetes.io/version" .Chart.AppVersion -}}
{{- merge $ours .Values.commonLabels | toYaml -}}
{{- end -}}

{{- define "testinium.podLabels" -}}
{{- merge (include "testinium.selector" . | fromYaml) .Values.podLabels .Values.commonLabels | toYaml -}}
{{- end -}}

{{- define "testinium.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{/* As whom and where the pods run. */}}
{{- define "testinium.placement" -}}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  seccompProfile:
    type: RuntimeDefault
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
{{ toYaml . }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
{{ toYaml . }}
{{- end }}
{{- with .Values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* A container that can change nothing and become nobody else. */}}
{{- define "testinium.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
{{- end -}}

{{/*
Whether the operator may put its finalizer on runs: by the right for that, or by the one that cleanup rules need, which is
the same to the API server. In single namespaces it never does.
*/}}
{{- define "testinium.putsFinalizers" -}}
{{- if and (not .Values.watchNamespaces) (or .Values.deletionPolicy.enabled .Values.cleanup.enabled) }}true{{ end -}}
{{- end -}}

{{/* What the operator may do in the namespaces that it serves. */}}
{{- define "testinium.rules" -}}
# It never writes what users write: of its own resources it updates the status alone.
- apiGroups: [testinium.io]
  resources: [testplanruns, testiniumgateways]
  verbs: [get, list, watch]
- apiGroups: [testinium.io]
  resources: [testplanruns/status, testiniumgateways/status]
  verbs: [update]
# A run with a TTL is deleted after its stop. The policy operator-deletes takes back all else.
- apiGroups: [testinium.io]
  resources: [testplanruns]
  verbs: [delete]
{{- if and .Values.deletionPolicy.enabled (not .Values.watchNamespaces) }}
# A finalizer for runs with spec.deletionPolicy Stop. The policy operator-writes takes back all else.
- apiGroups: [testinium.io]
  resources: [testplanruns]
  verbs: [patch]
{{- end }}
{{- if .Values.cleanup.enabled }}
# Rules that stop and delete runs. Of a run they write a mark; the policy operator-writes takes back all else. The verbs
# cleanup and stop are no verbs of the API server: the policies operator-deletes and stop-verb ask for them.
- apiGroups: [testinium.io]
  resources: [testplancleanups]
  verbs: [get, list, watch]
- apiGroups: [testinium.io]
  resources: [testplancleanups/status]
  verbs: [update]
- apiGroups: [testinium.io]
  resources: [testplanruns]
  verbs: [patch, cleanup, stop]
{{- end }}
# Only those that a gateway names, one at a time: without list and watch it can't gather what it wasn't given a name of.
- apiGroups: [""]
  resources: [secrets, configmaps]
  verbs: [get]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create]
{{- end -}}

{{/* What people may do with runs, gateways and cleanup rules. */}}
{{- define "testinium.editRules" -}}
- apiGroups: [testinium.io]
  resources: [testplanruns, testiniumgateways, testplancleanups]
  verbs: [create, update, patch, delete, deletecollection]
{{- end -}}

{{- define "testinium.viewRules" -}}
- apiGroups: [testinium.io]
  resources: [testplanruns, testiniumgateways, testplancleanups]
  verbs: [get, list, watch]
{{- end -}}

{{/* The part of a policy's binding that leaves out namespaces which this operator does not serve. */}}
{{- define "testinium.servedNamespaces" -}}
{{- with .Values.watchNamespaces -}}
matchResources:
  namespaceSelector:
    matchExpressions:
    - key: kubernetes.io/metadata.name
      operator: In
      values:
      {{- toYaml . | nindent 6 }}
{{- end -}}
{{- end -}}

{{/* Whether the cluster, as far as the renderer knows it, has policies that change objects. */}}
{{- define "testinium.hasMutatingPolicies" -}}
{{- $has := .Capabilities.APIVersions.Has "admissionregistration.k8s.io/v1/MutatingAdmissionPolicy" -}}
{{- if or $has (semverCompare ">=1.36.0-0" .Capabilities.KubeVersion.Version) }}true{{ end -}}
{{- end -}}

{{/* The account that every binding is for. */}}
{{- define "testinium.subjects" -}}
- kind: ServiceAccount
  name: {{ include "testinium.serviceAccount" . }}
  namespace: {{ .Release.Namespace }}
{{- end -}}

{{/*
The annotations of what Helm makes before it removes the release. What is given is the place in the order. A Job that has
failed stays, so that its log can be read.
*/}}
{{- define "testinium.uninstallHook" -}}
helm.sh/hook: pre-delete
helm.sh/hook-weight: {{ . | quote }}
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end -}}

{{/* Those of extraArgs that say what the operator serves, and by which Lease: as --flag=value, or as two arguments. */}}
{{- define "testinium.servedArgs" -}}
{{- $flags := "^--(watch-namespaces|watch-label-selector|lease-namespace)" -}}
{{- $is_value := false -}}
{{- range .Values.extraArgs -}}
{{- if or $is_value (regexMatch (printf "%s(=.*)?$" $flags) .) }}
- {{ quote . }}
{{- end -}}
{{- $is_value = regexMatch (printf "%s$" $flags) . -}}
{{- end -}}
{{- end -}}
