/** How the value of a variable is checked, see `check-value.ts`. */
export type VariableKind =
  | 'address'
  | 'arguments'
  | 'count'
  | 'failure-policy'
  | 'flag'
  | 'git-url'
  | 'gpu-mode'
  | 'installer'
  | 'list'
  | 'machine-id'
  | 'path'
  | 'port'
  | 'rate'
  | 'redis-url'
  | 'seconds'
  | 'text'
  | 'torch-backend'
  | 'url'
  | 'url-list'
  | 'workers'

/** One variable that comfy-machine reads. */
export interface Variable {
  readonly name: string
  /** Older names, the first one that is set counts; the name itself comes before all of them. */
  readonly aliases: readonly string[]
  /** What holds when it is not set; null when nothing does. */
  readonly default: string | null
  readonly kind: VariableKind
  readonly secret: boolean
  readonly required: boolean
  /** What it means, in one sentence. */
  readonly sentence: string
}

interface Options {
  readonly aliases?: readonly string[]
  readonly default?: string
  readonly secret?: true
  readonly required?: true
}

const row = (name: string, kind: VariableKind, sentence: string, options: Options = {}): Variable => ({
  name,
  aliases: options.aliases ?? [],
  default: options.default ?? null,
  kind,
  secret: options.secret ?? false,
  required: options.required ?? false,
  sentence,
})

/** Where ComfyUI comes from unless COMFYUI_REPO_URL or the service mapping says otherwise. */
export const UPSTREAM_COMFYUI = 'https://github.com/comfyanonymous/ComfyUI.git'

/** Every variable that comfy-machine itself reads, or hands to a program it runs. */
export const VARIABLES: readonly Variable[] = [
  row('MACHINE_ID', 'machine-id', 'Identity of the machine in every event; by default derived from /etc/machine-id.'),
  row(
    'WORKERS',
    'workers',
    'Worker types and counts, type[:count|auto], comma-separated; one worker without a count.',
    {
      required: true,
    },
  ),
  row('GPU_MODE', 'gpu-mode', 'actual, or mock: no GPU is touched and ComfyUI runs on the CPU.', { default: 'actual' }),
  row('MOCK_GPU_NUM', 'count', 'Number of GPUs in mock mode.', { default: '1' }),
  row('EMPROPS_API_URL', 'url', 'Base URL of the component API; not needed with MACHINE_LOCK.', {
    aliases: ['EMP_API_URL'],
    required: true,
  }),
  row('EMPROPS_API_KEY', 'text', 'Key of the component API, sent as a bearer token to that origin only.', {
    secret: true,
  }),
  row('COMPONENTS', 'list', 'Workflow names, comma-separated; false or none for no workflow.', {
    aliases: ['COMPONENT_IDS'],
    default: '',
  }),
  row('COLLECTIONS', 'list', 'Collection ids, comma-separated; false or none for no collection.', {
    aliases: ['COLLECTION_IDS'],
    default: '',
  }),
  row('COMPONENTS_STALE_OK', 'flag', 'Start from the last good answer when the component API cannot be reached.', {
    default: '0',
  }),
  row('MACHINE_LOCK', 'path', 'A machine.lock.json that is installed exactly as it is, without the component API.'),
  row(
    'COMPONENT_FAILURE_POLICY',
    'failure-policy',
    'strict, or degraded: go on without a custom node or model that fails, and say so.',
    {
      default: 'strict',
    },
  ),
  row('ALLOW_INSECURE_SOURCES', 'flag', 'Accept http: and file: sources of nodes and models.', { default: '0' }),
  row('HUB_REDIS_URL', 'redis-url', 'Redis of the hub, redis:// or rediss://.', {
    aliases: ['REDIS_URL'],
    secret: true,
    required: true,
  }),
  row('COMFYUI_REPO_URL', 'git-url', 'Git repository of ComfyUI.', { default: UPSTREAM_COMFYUI }),
  row('COMFYUI_REF', 'text', 'Branch, tag or commit of ComfyUI; by default its latest release, resolved once.', {
    aliases: ['COMFYUI_COMMIT', 'COMFYUI_BRANCH'],
  }),
  row('COMFYUI_BASE_PORT', 'port', 'Port of the first ComfyUI; the one of gpuN is N higher.', { default: '8188' }),
  row('COMFYUI_LISTEN', 'address', 'Address on which every ComfyUI listens.', { default: '127.0.0.1' }),
  row('COMFYUI_START_TIMEOUT', 'seconds', 'Seconds ComfyUI may take to answer without a sign of life.', {
    default: '600',
  }),
  row('COMFY_ARGS', 'arguments', 'Further arguments of ComfyUI, split as systemd splits them.', { default: '' }),
  row('MACHINE_HEALTH_PORT', 'port', 'Port of the health server.', { default: '9090' }),
  row('WORKSPACE_PATH', 'path', 'Directory below which everything large lies.', { default: '/var/lib/comfy-machine' }),
  row('MODELS_PATH', 'path', 'Directory of the models; by default models in WORKSPACE_PATH.'),
  row(
    'MODEL_SOURCES',
    'url-list',
    'Base URLs of mirrors and peers, comma-separated, asked for models of a known hash before their origin.',
  ),
  row('MODEL_CONNECTIONS', 'count', 'Connections that bring models at once, in all.', { default: '16' }),
  row('MODEL_CONNECTIONS_PER_HOST', 'count', 'Connections that bring models at once from one host.', { default: '16' }),
  row(
    'MODEL_RATE_LIMIT',
    'rate',
    'Bytes per second that models may take in all, such as 200M; by default all there is.',
  ),
  row(
    'MODEL_SHARE_PORT',
    'port',
    'Port on which this machine gives its models to whoever knows their hash; by default none.',
  ),
  row('HF_TOKEN', 'text', 'Token for huggingface.co, sent to that host only.', { secret: true }),
  row('CIVITAI_TOKEN', 'text', 'Token for civitai.com, sent to that host only.', { secret: true }),
  row('NODE_SCRIPT_TIMEOUT', 'seconds', 'Seconds an install script of a custom node may take.', { default: '1800' }),
  row('CUSTOM_NODES_WRITABLE', 'flag', 'Let custom nodes write into their own directories while ComfyUI runs.', {
    default: '0',
  }),
  row('PYTHON_INSTALLER', 'installer', 'uv, or pip where an operator wants it.', { default: 'uv' }),
  row(
    'TORCH_BACKEND',
    'torch-backend',
    'Build of torch: cpu, cu128, rocm6.4, …; by default what the driver supports, or none with an index of your own.',
  ),
  row('PIP_INDEX_URL', 'url', 'Python package index that pip uses.'),
  row('PIP_EXTRA_INDEX_URL', 'text', 'Further Python package indexes that pip uses.'),
  row('PIP_TRUSTED_HOST', 'text', 'Index hosts that pip uses without TLS.'),
  row('UV_INDEX_URL', 'url', 'Python package index that uv uses, older name.'),
  row('UV_DEFAULT_INDEX', 'text', 'Python package index that uv uses.'),
  row('UV_INDEX', 'text', 'Further Python package indexes that uv uses.'),
  row('http_proxy', 'text', 'Proxy for http: addresses.', { aliases: ['HTTP_PROXY'] }),
  row('https_proxy', 'text', 'Proxy for https: addresses.', { aliases: ['HTTPS_PROXY'] }),
  row('no_proxy', 'text', 'Hosts that are reached without a proxy.', { aliases: ['NO_PROXY'] }),
  row(
    'OTEL_EXPORTER_OTLP_ENDPOINT',
    'url',
    'OTLP gRPC endpoint; unset, telemetry stays in the journal and the outbox.',
  ),
  row(
    'OTEL_METRICS_EXPORTER',
    'text',
    'otlp to push the metrics to that endpoint as well; unset, /metrics is scraped.',
  ),
  row('OTEL_EXPORTER_OTLP_HEADERS', 'text', 'Headers for the OTLP endpoint, such as its key.', { secret: true }),
]

/** Variables of the machine that this one replaces, which are not read, and what to use. */
export const RETIRED: ReadonlyMap<string, string> = new Map([
  ['NUM_GPUS', 'the GPUs are counted; limit them with WORKERS'],
  ['MOCK_GPU', 'use GPU_MODE=mock'],
  ['TEST_MODE', 'use GPU_MODE=mock'],
])

const byName = new Map<string, Variable>()
for (const variable of VARIABLES) {
  for (const name of [variable.name, ...variable.aliases]) byName.set(name, variable)
}

/** The variable that a name or an older name stands for; undefined for a name that is not ours. */
export function variableOf(name: string): Variable | undefined {
  return byName.get(name)
}

/** Every name and older name of a known variable. */
export function knownNames(): Iterable<string> {
  return byName.keys()
}

/** Tells whether a name is read from the environment of the process: a known one or a standard OTEL_ one. */
export function isKnownName(name: string): boolean {
  return byName.has(name) || name.startsWith('OTEL_')
}

/** Tells whether a value is kept apart from the public environment because of its name, wherever it is written. */
export function isSecretName(name: string): boolean {
  return byName.get(name)?.secret === true || /(^|_)(TOKEN|KEY|SECRET|PASSWORD)$|_HEADERS$/i.test(name)
}
