type UnitCommand = (argument: string | undefined) => Promise<number | undefined>

const INSTALLERS = ['comfyui', 'discover', 'nodes', 'models', 'later-models', 'update', 'collect'] as const

// What the units run. None of it is of use at a prompt, and so none is in --help.
const UNIT_COMMANDS: Readonly<Record<string, UnitCommand>> = {
  up: async () => (await import('./commands/up.ts')).upCommand(),
  install: async (what) => {
    const installer = INSTALLERS.find((each) => each === what)
    return installer && (await import('./commands/install.ts')).installCommand(installer)
  },
  probe: async (gpu) => (gpu === undefined ? gpu : (await import('./commands/probe.ts')).probeCommand(gpu)),
  worker: async (gpu) => (gpu === undefined ? gpu : (await import('./commands/worker.ts')).workerCommand(gpu)),
  health: async (port) =>
    (await import('./commands/health.ts')).healthCommand(port === undefined ? {} : { port: Number(port) }),
  metrics: async () => (await import('./commands/metrics.ts')).metricsCommand(),
  share: async (idleS) =>
    (await import('./commands/share.ts')).shareCommand(idleS === undefined ? {} : { idleS: Number(idleS) }),
  sandbox: async () => (await import('./commands/sandbox.ts')).sandboxCommand(),
  telemetry: async () => (await import('./commands/telemetry.ts')).telemetryCommand(),
}

/** Runs what a unit's ExecStart= names. Resolves to the exit code, or to undefined when this is no command of a unit. */
export async function runUnitCommand(name: string, argument: string | undefined): Promise<number | undefined> {
  if (!Object.hasOwn(UNIT_COMMANDS, name)) return undefined
  // systemctl status and ps show this instead of the runtime's own name.
  process.title = ['comfy-machine', name, argument].filter((part) => part !== undefined).join(' ')
  return UNIT_COMMANDS[name]?.(argument)
}
