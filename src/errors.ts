/** The closed list of failure kinds; dashboards group by it. */
export type ErrorType =
  | 'config_missing'
  | 'config_invalid'
  | 'permission_denied'
  | 'disk_full'
  | 'network_unreachable'
  | 'network_timeout'
  | 'dns_failure'
  | 'tls_failure'
  | 'http_error'
  | 'auth_failed'
  | 'api_contract'
  | 'git_failed'
  | 'dependency_conflict'
  | 'pip_failed'
  | 'install_script_failed'
  | 'checksum_mismatch'
  | 'download_incomplete'
  | 'gpu_not_found'
  | 'gpu_lost'
  | 'driver_mismatch'
  | 'port_in_use'
  | 'exec_failed'
  | 'process_exit'
  | 'process_signal'
  | 'oom_kill'
  | 'start_timeout'
  | 'watchdog'
  | 'start_limit'
  | 'dependency_failed'
  | 'import_failed'
  | 'not_responding'
  | 'redis_unreachable'
  | 'bus_error'
  | 'internal'

/** One row of the registry of failures. The step is the code's first two digits. */
export interface ErrorDefinition {
  readonly name: string
  readonly type: ErrorType
  readonly sentence: string
  /** One sentence: what to do next. */
  readonly hint: string
  /** A command that looks closer. */
  readonly run: string
  /** The cause may go away by itself: systemd starts the machine again later. */
  readonly transient?: true
}

const define = (name: string, type: ErrorType, sentence: string, hint: string, run: string): ErrorDefinition => ({
  name,
  type,
  sentence,
  hint,
  run,
})
const passing = (definition: ErrorDefinition): ErrorDefinition => ({ ...definition, transient: true })

const CHECK = 'comfy-machine check'
const RETRY = 'systemctl start comfy-machine'

// biome-ignore format: one row a code
/** Every failure the machine can report. `CM` + two digits of the step + two of the case; a code never changes its meaning. */
export const ERRORS = {
  CM0001: define('internal_error', 'internal', 'comfy-machine met a condition it did not expect', 'Report it with the output of comfy-machine report.', 'journalctl -u comfy-machine -b -p warning'),
  CM0002: define('usage', 'config_invalid', 'the command line is not understood', 'Read comfy-machine --help.', 'comfy-machine --help'),
  CM0003: define('state_missing', 'config_missing', 'no startup of this machine is on record', 'Start the machine with systemctl start comfy-machine.', RETRY),

  CM0301: define('variable_missing', 'config_missing', 'a required variable is not set', 'Set it in /etc/comfy-machine/machine.env and start again.', CHECK),
  CM0302: define('variable_invalid', 'config_invalid', 'a variable has a value that cannot be used', 'Correct it in the file and line named and start again.', CHECK),
  CM0303: define('secrets_exposed', 'permission_denied', 'the secrets file can be read by others', 'Run chmod 600 /etc/comfy-machine/secrets.env and start again.', 'ls -l /etc/comfy-machine'),
  CM0304: define('config_unreadable', 'config_invalid', 'a configuration file cannot be read', 'Check that the file exists and is readable by root.', 'ls -l /etc/comfy-machine'),

  CM0401: define('directory_unusable', 'permission_denied', 'a directory of the machine cannot be created or written', 'Check the mount and the permissions of WORKSPACE_PATH and MODELS_PATH.', 'findmnt -T /var/lib/comfy-machine'),
  CM0402: define('disk_full', 'disk_full', 'a file system of the machine has no space or inodes left', 'Free space, or point WORKSPACE_PATH or MODELS_PATH at a larger volume.', 'df -h /var/lib/comfy-machine'),

  CM0501: passing(define('bus_unreachable', 'bus_error', 'the system bus does not answer', 'Check that dbus.service runs.', 'systemctl status dbus.socket dbus.service')),
  CM0502: define('systemd_too_old', 'bus_error', 'this systemd is older than the machine needs', 'Use a host with systemd 254 or later: Debian 13, Ubuntu 24.04.', 'systemctl --version'),

  CM0701: define('template_unreadable', 'internal', 'a unit template of the package cannot be loaded', 'Reinstall the package: apt install --reinstall comfy-machine.', 'dpkg -V comfy-machine'),

  CM0801: define('mapping_unreadable', 'config_invalid', 'the service mapping cannot be read as JSON', 'Correct the file at the position named, or restore the one of the package.', CHECK),
  CM0802: define('mapping_invalid', 'config_invalid', 'the service mapping does not fit its schema', 'Correct the path named in /etc/comfy-machine/service-mapping.json.', CHECK),
  CM0803: define('worker_type_unknown', 'config_invalid', 'WORKERS names a type that the service mapping does not have', 'Use one of the types named, or add the type to the service mapping.', CHECK),
  CM0804: define('service_not_runnable', 'config_invalid', 'a worker type needs a service that this machine cannot run', 'Remove the worker type from WORKERS, or give the service an exec in the service mapping.', CHECK),
  CM0805: define('worker_env_missing', 'config_missing', 'a variable that a worker type requires is not set', 'Set the variable in machine.env or secrets.env.', CHECK),

  CM0901: define('gpu_not_found', 'gpu_not_found', 'no NVIDIA GPU was found in actual mode', 'Check that the driver is loaded, or set GPU_MODE=mock.', 'nvidia-smi -L'),
  CM0902: define('gpu_count_short', 'gpu_not_found', 'WORKERS asks for more GPUs than the host has', 'Lower the count in WORKERS or use auto.', 'nvidia-smi -L'),
  CM0903: define('driver_mismatch', 'driver_mismatch', 'the NVIDIA driver and its library do not fit together', 'Reboot after a driver upgrade, so that module and library are of one version.', 'cat /proc/driver/nvidia/version; nvidia-smi'),
  CM0904: define('nvidia_smi_failed', 'exec_failed', 'nvidia-smi failed or its answer cannot be read', 'Run it by hand and look for the reason in the kernel log.', 'nvidia-smi -q -x | head; journalctl -k -g NVRM'),

  CM1001: define('unit_render_failed', 'internal', 'a unit could not be rendered', 'A value of the configuration cannot stand in a unit file; remove control characters from it.', 'comfy-machine render'),
  CM1002: define('unit_write_failed', 'disk_full', 'a unit could not be written', 'Check the space and the permissions of /run/systemd/system.', 'df -h /run'),

  CM1101: define('reload_failed', 'bus_error', 'systemd did not reload its units', 'Run systemctl daemon-reload and look at what it says.', 'journalctl -b _PID=1 -p warning'),
  CM1102: define('unit_not_loaded', 'bus_error', 'systemd refused a unit of the machine', 'Look at the unit that is named, and at drop-ins in /etc/systemd/system.', 'systemctl cat comfy-machine.target'),

  CM1201: define('health_port_in_use', 'port_in_use', 'another program listens on the health port', 'Stop that program or set MACHINE_HEALTH_PORT to a free port.', 'ss -ltnp'),
  CM1290: define('health_failed', 'process_exit', 'the health server did not start', 'Read its journal.', 'journalctl -u comfy-health -b -e'),

  CM1301: define('start_refused', 'bus_error', 'systemd refused to start the machine', 'Look for a masked unit or a cycle in the ordering.', 'journalctl -b _PID=1 -p warning'),

  CM1401: passing(define('comfyui_git_failed', 'git_failed', 'ComfyUI could not be fetched', 'Check COMFYUI_REPO_URL, COMFYUI_REF and the network.', 'journalctl -u comfy-install-comfyui -b -e')),
  CM1402: define('comfyui_venv_failed', 'exec_failed', 'the Python environment of ComfyUI could not be made', 'Check that python3 and python3-venv are installed.', 'journalctl -u comfy-install-comfyui -b -e'),
  CM1403: passing(define('comfyui_requirements_failed', 'pip_failed', 'the Python packages of ComfyUI could not be installed', 'Check the package index (PIP_INDEX_URL) and the lines above.', 'journalctl -u comfy-install-comfyui -b -e')),
  CM1404: define('package_installer_missing', 'config_missing', 'the package installer that is wanted is not there', 'Reinstall the package, or set PYTHON_INSTALLER=pip.', CHECK),
  CM1405: define('python_mismatch', 'config_invalid', 'the lock was made with another Python or for another kind of machine', 'Install the Python that the lock names, or make a lock on a host like this one with comfy-machine lock.', 'comfy-machine lock'),
  CM1490: define('comfyui_installer_failed', 'process_exit', 'the ComfyUI installer ended without a result', 'Read its journal.', 'journalctl -u comfy-install-comfyui -b -e'),

  CM1501: define('component_config_invalid', 'config_invalid', 'the component settings cannot be used', 'Correct EMPROPS_API_URL, COMPONENTS or COLLECTIONS.', CHECK),

  CM1601: passing(define('api_unreachable', 'network_unreachable', 'the component API cannot be reached', 'Check EMPROPS_API_URL and the network; COMPONENTS_STALE_OK=1 starts from the last good answer.', 'journalctl -u comfy-discover -b -e')),
  CM1602: passing(define('api_http_error', 'http_error', 'the component API answered with an error', 'Look at the answer in the journal and at the API itself.', 'journalctl -u comfy-discover -b -e')),
  CM1603: define('api_auth_failed', 'auth_failed', 'the component API refused the key', 'Set EMPROPS_API_KEY in /etc/comfy-machine/secrets.env.', 'journalctl -u comfy-discover -b -e'),
  CM1604: define('api_contract', 'api_contract', 'the answer of the component API does not have the agreed shape', 'Correct the component in the API; the path in the answer is named.', 'journalctl -u comfy-discover -b -e'),
  CM1605: define('component_missing', 'api_contract', 'the component API does not know a wanted workflow or collection', 'Correct the name in COMPONENTS or COLLECTIONS.', CHECK),
  CM1606: define('component_conflict', 'dependency_conflict', 'two components want different versions of one custom node or model', 'Make both sources name the same commit or hash.', 'journalctl -u comfy-discover -b -e'),
  CM1607: define('component_refused', 'config_invalid', 'a component has a name, path or URL that is not safe', 'Correct the component in the API, or set ALLOW_INSECURE_SOURCES=1 for plain http sources you trust.', 'journalctl -u comfy-discover -b -e'),
  CM1608: define('lock_invalid', 'config_invalid', 'the lock file cannot be used', 'Make it anew with comfy-machine lock on a machine that is ready, and do not change it.', CHECK),
  CM1690: define('discovery_failed', 'process_exit', 'the discovery ended without a result', 'Read its journal.', 'journalctl -u comfy-discover -b -e'),

  CM1701: passing(define('node_clone_failed', 'git_failed', 'a custom node could not be cloned', 'Check the repository URL of the node and the network.', 'journalctl -u comfy-install-nodes -b -e')),
  CM1702: define('node_ref_missing', 'git_failed', 'a custom node does not have the branch or commit that is wanted', 'Correct branch or commit of the node in the API.', 'journalctl -u comfy-install-nodes -b -e'),
  CM1703: define('node_requirements_failed', 'pip_failed', 'the Python packages of a custom node could not be installed', 'Look at the line of the resolver in the journal; a package may be missing or in conflict.', 'journalctl -u comfy-install-nodes -b -e'),
  CM1704: define('node_script_failed', 'install_script_failed', 'the install script of a custom node failed', 'Look at the last lines of the script in the journal.', 'journalctl -u comfy-install-nodes -b -e'),
  CM1705: define('node_env_missing', 'config_missing', 'a variable that a custom node wants is not set', 'Set the variable in machine.env or secrets.env.', CHECK),
  CM1706: define('requirements_conflict', 'dependency_conflict', 'requirements of ComfyUI and of custom nodes contradict each other', 'Take one of the nodes named out of the components, or use versions of them that agree.', 'journalctl -u comfy-install-nodes -b -e'),
  CM1707: define('requirements_invalid', 'pip_failed', 'a requirements file cannot be used', 'Correct the file and line named in the repository of the node, or set requirements to false for it.', 'journalctl -u comfy-install-nodes -b -e'),
  CM1708: define('torch_replaced', 'dependency_conflict', 'a script of a custom node replaced the build of torch', 'Take the node out of the components, or use a version of it that leaves torch alone.', 'journalctl -u comfy-install-nodes -b -e'),
  CM1709: define('node_too_large', 'git_failed', 'a repository sends more than the limit allows', 'Take a commit or fork of the node without the large files, or leave the node out.', 'journalctl -u comfy-install-nodes -b -e'),
  CM1710: define('commit_mismatch', 'git_failed', 'a checkout is not at the commit that is wanted', 'Start again; look at the disk and at programs that change files below the workspace.', 'journalctl -u comfy-install-nodes -b -e'),
  CM1711: define('sandbox_unavailable', 'exec_failed', 'the sandbox for programs of custom nodes is not there', 'Look why comfy-sandbox.socket does not listen; nothing was run outside it.', 'systemctl status comfy-sandbox.socket; journalctl -b -e -u comfy-sandbox*'),
  CM1790: define('node_installer_failed', 'process_exit', 'the custom node installer ended without a result', 'Read its journal.', 'journalctl -u comfy-install-nodes -b -e'),

  CM1801: passing(define('model_unreachable', 'network_unreachable', 'the source of a model cannot be reached', 'Check the URL of the model and the network.', 'journalctl -u comfy-install-models -b -e')),
  CM1802: define('model_http_error', 'http_error', 'the source of a model answered with an error', 'Check the URL of the model in the API.', 'journalctl -u comfy-install-models -b -e'),
  CM1803: define('model_auth_failed', 'auth_failed', 'the source of a model refused the token', 'Set the token that the model names in /etc/comfy-machine/secrets.env.', 'journalctl -u comfy-install-models -b -e'),
  CM1804: define('model_checksum_mismatch', 'checksum_mismatch', 'a model does not have the expected sha256', 'Correct the hash in the API, or find out why the source serves other bytes.', 'journalctl -u comfy-install-models -b -e'),
  CM1805: passing(define('model_incomplete', 'download_incomplete', 'a model did not arrive whole', 'Start again; the part that arrived is kept and resumed.', 'journalctl -u comfy-install-models -b -e')),
  CM1806: define('model_disk_full', 'disk_full', 'the models do not fit on their volume', 'Remove models that nothing wants with comfy-machine models gc, or set MODELS_PATH to a larger volume.', 'df -h /var/lib/comfy-machine/models'),
  CM1807: define('model_source_missing', 'config_missing', 'a model has no URL or no place to save it, and is not there', 'Give the model a downloadUrl and a saveTo in the API, or copy the file by hand.', 'journalctl -u comfy-install-models -b -e'),
  CM1808: define('model_is_a_page', 'http_error', 'the source of a model sent a web page instead', 'Check the URL of the model, and whether it needs a token or a login.', 'journalctl -u comfy-install-models -b -e'),
  CM1809: passing(define('model_store_busy', 'dependency_failed', 'another process works on the models', 'Wait until it has ended, or end it; it is named above.', 'cat /var/lib/comfy-machine/models/.store/lock')),
  CM1810: define('model_size_mismatch', 'checksum_mismatch', 'the source of a model has another size than expected', 'Correct fileSize in the API, or find out why the source has another file.', 'journalctl -u comfy-install-models -b -e'),
  CM1811: passing(define('model_changed', 'download_incomplete', 'the source changed a model while it was downloaded', 'Start again; give the model a hash in the API, so that one version of it is meant.', 'journalctl -u comfy-install-models -b -e')),
  CM1812: define('model_damaged', 'checksum_mismatch', 'a model on the disk is not what was verified', 'Run comfy-machine models verify --repair, and look at the disk.', 'comfy-machine models verify'),
  CM1813: define('model_set_invalid', 'config_invalid', 'an exported set of models cannot be used', 'Name a directory that comfy-machine models export has written, whole and unchanged.', 'comfy-machine models --help'),
  CM1890: define('model_installer_failed', 'process_exit', 'the model installer ended without a result', 'Read its journal.', 'journalctl -u comfy-install-models -b -e'),

  CM1901: define('comfyui_not_responding', 'start_timeout', 'ComfyUI did not answer in time', 'Look at its last lines; raise COMFYUI_START_TIMEOUT if it still loads.', 'journalctl -u "comfyui@*" -b -e'),
  CM1902: define('node_import_failed', 'import_failed', 'ComfyUI could not import a wanted custom node', 'Look at the traceback of the node; a Python package may be missing.', 'journalctl -u "comfyui@*" -b -g "IMPORT FAILED"'),
  CM1903: define('node_class_missing', 'import_failed', 'ComfyUI does not offer a class of a wanted custom node', 'Look for the reason in the lines of ComfyUI; the node may miss a package, a variable or a file.', 'journalctl -u "comfyui@*" -b -e'),
  CM1904: define('evidence_prompt_failed', 'not_responding', 'ComfyUI did not carry out a small prompt', 'Look at what ComfyUI says of the prompt, and at the directories it writes to.', 'journalctl -u "comfyui@*" -b -e'),
  CM1905: define('model_not_in_place', 'checksum_mismatch', 'a wanted model is not in place as it was verified', 'Start the machine again, which brings the model anew, and find out who changes files below MODELS_PATH.', 'journalctl -u "comfyui@*" -b -e'),
  CM1910: define('generation_rejected', 'dependency_failed', 'a generation was sent back because it did not prove itself', 'Look at what its ComfyUI said, correct the cause and run comfy-machine update again.', 'comfy-machine generations'),
  CM1911: define('generation_unknown', 'config_invalid', 'there is no such generation on this machine', 'Choose one that comfy-machine generations lists.', 'comfy-machine generations'),
  CM1912: define('update_impossible', 'dependency_failed', 'the machine cannot be moved to another generation now', 'Wait until the machine is ready, or start it with systemctl start comfy-machine.', 'comfy-machine status'),
  CM1990: define('comfyui_failed', 'process_exit', 'ComfyUI ended', 'Look at its last lines before the end.', 'journalctl -u "comfyui@*" -b -e'),

  CM2001: passing(define('redis_unreachable', 'redis_unreachable', 'Redis cannot be reached', 'Check HUB_REDIS_URL and that Redis runs.', 'journalctl -u "redis-worker@*" -b -e')),
  CM2002: define('redis_auth_failed', 'auth_failed', 'Redis refused the user or password', 'Correct the password in HUB_REDIS_URL in /etc/comfy-machine/secrets.env.', 'journalctl -u "redis-worker@*" -b -e'),
  CM2003: define('comfyui_unreachable', 'not_responding', 'the worker cannot reach its ComfyUI', 'Look at the ComfyUI of the same GPU.', 'journalctl -u "comfyui@*" -b -e'),
  CM2090: define('worker_failed', 'process_exit', 'a worker ended', 'Read its journal.', 'journalctl -u "redis-worker@*" -b -e'),

  CM2101: define('machine_not_ready', 'dependency_failed', 'a wanted unit of the machine is not active', 'Look at the failing steps in comfy-machine status.', 'comfy-machine status'),
} as const satisfies Record<`CM${string}`, ErrorDefinition>

/** A registered failure code, e.g. `CM1804`. */
export type ErrorCode = keyof typeof ERRORS

/** What is known of one code. */
export function definitionOf(code: ErrorCode): ErrorDefinition {
  return ERRORS[code]
}

/** Tells whether a text is a registered code. */
export function isErrorCode(text: string): text is ErrorCode {
  return Object.hasOwn(ERRORS, text)
}

/** The step a code belongs to, from its first two digits; 0 for codes of the command line. */
export function stepOfCode(code: ErrorCode): number {
  return Number(code.slice(2, 4))
}

/** What can be said of a failure beyond its code. */
export interface MachineErrorOptions {
  readonly cause?: unknown
  /** Replaces the row's type where the case is more exact, e.g. dns_failure instead of network_unreachable. */
  readonly type?: ErrorType
  /** Replaces the row's hint where a better one is known. */
  readonly hint?: string
}

/** A failure with a stable code; its message says what happened, its hint what to do next. */
export class MachineError extends Error {
  readonly code: ErrorCode
  readonly type: ErrorType
  readonly hint: string

  constructor(code: ErrorCode, message: string, options: MachineErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = 'MachineError'
    this.code = code
    this.type = options.type ?? definitionOf(code).type
    this.hint = options.hint ?? definitionOf(code).hint
  }
}

/** The message of anything that was thrown. */
export function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown)
}

/** Anything thrown as a MachineError: itself, or the given code (CM0001 by default) around it. */
export function toMachineError(thrown: unknown, code: ErrorCode = 'CM0001'): MachineError {
  return thrown instanceof MachineError ? thrown : new MachineError(code, messageOf(thrown), { cause: thrown })
}
