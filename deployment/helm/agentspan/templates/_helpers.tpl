{{- define "agentspan.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 50 | trimSuffix "-" }}
{{- end }}

{{- define "agentspan.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" }}
{{- else if contains (include "agentspan.name" .) .Release.Name }}
{{- .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "agentspan.name" .) | trunc 40 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- /* (dict "root" $ "component" "server"): what a Service, a Deployment and a policy select. */ -}}
{{- define "agentspan.selector" -}}
app.kubernetes.io/name: {{ include "agentspan.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "agentspan.labels" -}}
{{ include "agentspan.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: agentspan
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "agentspan.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- define "agentspan.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- .Values.serviceAccount.name | default (include "agentspan.fullname" .) }}
{{- else }}
{{- .Values.serviceAccount.name | default "default" }}
{{- end }}
{{- end }}

{{- /* Where each secret is: in a Secret that is named, or in the chart's own. */ -}}
{{- define "agentspan.authSecret" -}}
{{ .Values.auth.existingSecret | default (printf "%s-auth" (include "agentspan.fullname" .)) }}
{{- end }}
{{- define "agentspan.masterKeySecret" -}}
{{ .Values.masterKey.existingSecret | default (printf "%s-master-key" (include "agentspan.fullname" .)) }}
{{- end }}
{{- define "agentspan.databaseSecret" -}}
{{ .Values.database.existingSecret | default (printf "%s-database" (include "agentspan.fullname" .)) }}
{{- end }}

{{- define "agentspan.databaseUrl" -}}
{{- if .Values.postgresql.enabled -}}
postgresql://agentspan:{{ required "postgresql.password: the trial's PostgreSQL needs a password" .Values.postgresql.password }}@{{ include "agentspan.fullname" . }}-postgresql:5432/agentspan
{{- else -}}
{{ required "database.existingSecret: name the Secret that has the database's URL (or, for a trial, set postgresql.enabled)" .Values.database.url }}
{{- end -}}
{{- end }}

{{- define "agentspan.databaseEnv" -}}
- name: AGENTSPAN_DATABASE_URL
  valueFrom:
    secretKeyRef: {name: {{ include "agentspan.databaseSecret" . }}, key: {{ .Values.database.key }}}
{{- end }}

{{- define "agentspan.authEnv" -}}
- name: AGENTSPAN_AUTH_KEY
  valueFrom:
    secretKeyRef: {name: {{ include "agentspan.authSecret" . }}, key: {{ .Values.auth.keyKey }}}
- name: AGENTSPAN_AUTH_SECRET
  valueFrom:
    secretKeyRef: {name: {{ include "agentspan.authSecret" . }}, key: {{ .Values.auth.secretKey }}}
{{- end }}

{{- /* What every process that works on the database is told. */ -}}
{{- define "agentspan.serverEnv" -}}
{{ include "agentspan.databaseEnv" . }}
{{ include "agentspan.authEnv" . }}
- name: AGENTSPAN_MASTER_KEY
  valueFrom:
    secretKeyRef: {name: {{ include "agentspan.masterKeySecret" . }}, key: {{ .Values.masterKey.key }}}
{{- with .Values.masterKey.oldKey }}
- name: AGENTSPAN_OLD_MASTER_KEYS
  valueFrom:
    secretKeyRef: {name: {{ include "agentspan.masterKeySecret" $ }}, key: {{ . }}}
{{- end }}
{{- end }}

{{- define "agentspan.serverEnvFrom" -}}
- configMapRef: {name: {{ include "agentspan.fullname" . }}}
{{- range .Values.envFromSecrets }}
- secretRef: {name: {{ . }}}
{{- end }}
{{- end }}

{{- /* As whom workers of tools and the test log in. */ -}}
{{- define "agentspan.clientEnv" -}}
- name: AGENTSPAN_SERVER_URL
  value: http://{{ include "agentspan.fullname" . }}:{{ .Values.server.service.port }}
{{- end }}

{{- /* Pods start anew when what they were started with has changed: the chart's own by content, others by version. */ -}}
{{- define "agentspan.checksums" -}}
checksum/config: {{ include (print .Template.BasePath "/config.yaml") . | sha256sum }}
checksum/secrets: {{ include (print .Template.BasePath "/secrets.yaml") . | sha256sum }}
{{- $versions := list }}
{{- range concat (list .Values.auth.existingSecret .Values.masterKey.existingSecret .Values.database.existingSecret) .Values.envFromSecrets | compact }}
{{- with lookup "v1" "Secret" $.Release.Namespace . }}
{{- $versions = append $versions .metadata.resourceVersion }}
{{- end }}
{{- end }}
checksum/existing-secrets: {{ $versions | join "," | sha256sum }}
{{- end }}

{{- /* (dict "root" $ "component" "server" "grace" 45): the part of a pod that is the same for all of ours. */ -}}
{{- define "agentspan.pod" -}}
serviceAccountName: {{ include "agentspan.serviceAccountName" .root }}
{{ include "agentspan.podAlone" . }}
{{- if .root.Values.topologySpread }}
topologySpreadConstraints:
  {{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
  - maxSkew: 1
    topologyKey: {{ . }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels: {{- include "agentspan.selector" $ | nindent 8 }}
  {{- end }}
{{- end }}
{{- end }}

{{- define "agentspan.podAlone" -}}
automountServiceAccountToken: false
# A Service that is called agentspan would else set AGENTSPAN_PORT to an address.
enableServiceLinks: false
# What a tool's process leaves behind is taken care of.
shareProcessNamespace: true
terminationGracePeriodSeconds: {{ .grace }}
securityContext: {{- toYaml .root.Values.podSecurityContext | nindent 2 }}
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "agentspan.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- define "agentspan.probes" -}}
startupProbe:
  httpGet: {path: /livez, port: http}
  periodSeconds: 2
  failureThreshold: 60
livenessProbe:
  httpGet: {path: /livez, port: http}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 3
readinessProbe:
  httpGet: {path: /readyz, port: http}
  periodSeconds: 5
  timeoutSeconds: 4
  failureThreshold: 2
{{- end }}

{{- /* Balancers need a moment to learn that a pod ends; until then it serves. */ -}}
{{- define "agentspan.preStop" -}}
preStop:
  exec: {command: [sleep, "5"]}
{{- end }}

{{- define "agentspan.writableMounts" -}}
- {name: data, mountPath: /data}
- {name: tmp, mountPath: /tmp}
{{- end }}

{{- define "agentspan.writableVolumes" -}}
- name: data
  emptyDir: {sizeLimit: 1Gi}
- name: tmp
  emptyDir: {sizeLimit: 1Gi}
{{- end }}

{{- define "agentspan.scriptsMount" -}}
{{- if .Values.tests.enabled }}
- {name: scripts, mountPath: /etc/agentspan/scripts, readOnly: true}
{{- end }}
{{- end }}

{{- define "agentspan.scriptsVolume" -}}
{{- if .Values.tests.enabled }}
- name: scripts
  configMap: {name: {{ include "agentspan.fullname" . }}-scripts}
{{- end }}
{{- end }}

{{- /* (dict "root" $ "component" "server" "workers" "all" "ui" true "args" (list "server") "values" .Values.server): a Deployment
of one of the server's kinds of process. */ -}}
{{- define "agentspan.serverDeployment" -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ include "agentspan.fullname" .root }}{{ if ne .component "server" }}-{{ .component }}{{ end }}
  labels: {{- include "agentspan.labels" . | nindent 4 }}
spec:
  {{- if not .scaled }}
  replicas: {{ .values.replicas }}
  {{- end }}
  revisionHistoryLimit: 5
  strategy:
    rollingUpdate: {maxUnavailable: 0, maxSurge: 1}
  selector:
    matchLabels: {{- include "agentspan.selector" . | nindent 6 }}
  template:
    metadata:
      labels: {{- include "agentspan.labels" . | nindent 8 }}
      annotations:
        {{- include "agentspan.checksums" .root | nindent 8 }}
        {{- with .values.podAnnotations }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
    spec:
      {{- include "agentspan.pod" (merge (dict "grace" (add .root.Values.drainSeconds 20)) .) | nindent 6 }}
      {{- with .values.nodeSelector }}
      nodeSelector: {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with .values.tolerations }}
      tolerations: {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with .values.affinity }}
      affinity: {{- toYaml . | nindent 8 }}
      {{- end }}
      containers:
        - name: {{ .component }}
          image: {{ include "agentspan.image" .root }}
          imagePullPolicy: {{ .root.Values.image.pullPolicy }}
          args: {{- toYaml .args | nindent 12 }}
          ports:
            - {name: http, containerPort: 6767}
          env:
            {{- include "agentspan.serverEnv" .root | nindent 12 }}
            {{- range $name, $value := .env }}
            - {name: {{ $name }}, value: {{ $value | quote }}}
            {{- end }}
          envFrom: {{- include "agentspan.serverEnvFrom" .root | nindent 12 }}
          securityContext: {{- include "agentspan.containerSecurity" . | nindent 12 }}
          {{- include "agentspan.probes" . | nindent 10 }}
          lifecycle: {{- include "agentspan.preStop" . | nindent 12 }}
          resources: {{- toYaml .values.resources | nindent 12 }}
          volumeMounts:
            {{- include "agentspan.writableMounts" . | nindent 12 }}
            {{- include "agentspan.scriptsMount" .root | nindent 12 }}
      volumes:
        {{- include "agentspan.writableVolumes" . | nindent 8 }}
        {{- include "agentspan.scriptsVolume" .root | nindent 8 }}
{{- end }}

{{- define "agentspan.disruption" -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ .name }}
  labels: {{- include "agentspan.labels" . | nindent 4 }}
spec:
  # A node can always be drained: one pod at a time, and one that is not well keeps nobody waiting.
  maxUnavailable: 1
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels: {{- include "agentspan.selector" . | nindent 6 }}
{{- end }}

{{- /* (dict "root" $ "component" "x" "name" "y" "values" v): an autoscaler, or KEDA's. */ -}}
{{- define "agentspan.scaling" -}}
{{- $autoscaling := .values.autoscaling | default dict }}
{{- $keda := .values.keda | default dict }}
{{- if and $autoscaling.enabled $keda.enabled }}
{{- fail (printf "%s: enable autoscaling or keda, not both: they would undo each other's work" .name) }}
{{- end }}
{{- if $autoscaling.enabled }}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  name: {{ .name }}
  labels: {{- include "agentspan.labels" . | nindent 4 }}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: {{ .name }}}
  minReplicas: {{ $autoscaling.minReplicas }}
  maxReplicas: {{ $autoscaling.maxReplicas }}
  metrics:
    - type: Resource
      resource:
        name: cpu
        target: {type: Utilization, averageUtilization: {{ $autoscaling.targetCPUUtilizationPercentage }}}
  behavior: {{- include "agentspan.behavior" . | nindent 4 }}
{{- end }}
{{- if $keda.enabled }}
---
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata:
  name: {{ .name }}
  labels: {{- include "agentspan.labels" . | nindent 4 }}
spec:
  scaleTargetRef: {name: {{ .name }}}
  minReplicaCount: {{ $keda.minReplicas }}
  maxReplicaCount: {{ $keda.maxReplicas }}
  pollingInterval: {{ .root.Values.keda.pollingInterval }}
  cooldownPeriod: {{ .root.Values.keda.cooldownPeriod }}
  advanced:
    horizontalPodAutoscalerConfig:
      behavior: {{- include "agentspan.behavior" . | nindent 8 }}
  triggers:
    - type: prometheus
      metadata:
        serverAddress: {{ .root.Values.keda.prometheusAddress }}
        # Every server tells of the same database, hence max. Tasks at work count as well as those that wait: as long as
        # all are busy, nobody is taken away.
        query: >-
          sum(max by (tenant, queue, domain) (
          agentspan_queue_ready{namespace={{ .root.Release.Namespace | quote }},queue=~{{ $keda.queues | join "|" | quote }}}
          + agentspan_queue_in_flight{namespace={{ .root.Release.Namespace | quote }},queue=~{{ $keda.queues | join "|" | quote }}}))
        threshold: {{ $keda.tasksPerReplica | quote }}
{{- end }}
{{- end }}

{{- define "agentspan.behavior" -}}
scaleUp:
  stabilizationWindowSeconds: 0
  policies: [{type: Percent, value: 100, periodSeconds: 15}]
scaleDown:
  stabilizationWindowSeconds: 300
  policies: [{type: Pods, value: 1, periodSeconds: 60}]
{{- end }}
