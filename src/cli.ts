import { Command, CommanderError, InvalidArgumentError } from 'commander'
import { addModelsCommands } from './commands/models.ts'
import type { RollbackOptions } from './commands/rollback.ts'
import type { TraceOptions } from './commands/trace.ts'
import type { UpdateOptions } from './commands/update.ts'
import { definitionOf, toMachineError } from './errors.ts'
import { openTerminal } from './host/terminal.ts'
import { VERSION } from './version.ts'

const STATUS_HELP = `
Exit codes: 0 ready; 1 failed, degraded, stopped, or the host agent has ended; 2 still starting or nothing on record.

--wait looks at the startup that is on record now. Use it after
    systemctl start --no-block comfy-machine
A record whose agent has ended belongs to an earlier start: it is given 3 seconds to be replaced by a new one.
--wait ends with 0 when the machine is ready, 1 when the startup failed or stopped, 2 when --timeout has passed.`

const UPDATE_HELP = `
The generation is built beside the running one and tried on the first GPU. When ComfyUI has proved itself there, the other
GPUs follow one by one, each after its running job. When it has not, the first GPU goes back and the others never stopped.
Exit codes: 0 the machine is on it, or was already, or with --no-wait the update has begun; 1 it failed or was sent back.
Changes of units, e.g. another number of GPUs, are named and need systemctl restart comfy-machine.`

const ROLLBACK_HELP = `
The machine stays on the generation, also over restarts, until comfy-machine update or until its configuration asks for
something else than now. A machine that is stopped goes there with its next start.`

const EXIT_FAILED = 1
const EXIT_USAGE = 64
const EXIT_CONFIG = 78

/**
 * Runs one command line. Resolves to the exit code: what the command says, 64 for a command line that is not understood
 * and 78 for a configuration that cannot be used (sysexits.h). A failure is printed with its code and what to do next.
 */
export async function runCli(argv: readonly string[]): Promise<number> {
  let exitCode = 0
  const program = commands((code) => {
    exitCode = code
  })
  try {
    await program.parseAsync([...argv])
    return exitCode
  } catch (thrown) {
    if (thrown instanceof CommanderError) return thrown.exitCode === 0 ? 0 : EXIT_USAGE
    return printFailure(thrown)
  }
}

function printFailure(thrown: unknown): number {
  const { code, message, hint } = toMachineError(thrown)
  process.stderr.write(`comfy-machine: ${code} ${message}\n${hint}\nTo look closer: ${definitionOf(code).run}\n`)
  if (code === 'CM0002') return EXIT_USAGE
  return definitionOf(code).type.startsWith('config_') ? EXIT_CONFIG : EXIT_FAILED
}

function commands(onExit: (code: number) => void): Command {
  const program = new Command('comfy-machine')
    .description('Turns this host into a ready ComfyUI worker, and says how far it has come.')
    .version(VERSION)
    .exitOverride()
    .showSuggestionAfterError()
    .addHelpText(
      'after',
      '\nExit codes: 0 ok, 1 failed, 2 differs or not ready, 64 usage, 78 configuration.\nSee comfy-machine(8).',
    )
  const terminal = openTerminal()
  const seconds = (text: string): number => {
    const value = Number(text)
    if (!Number.isFinite(value) || value < 0) throw new InvalidArgumentError('is not a number of seconds')
    return value
  }
  const ordinal = (text: string): number => {
    if (!/^[1-9]\d{0,5}$/.test(text)) throw new InvalidArgumentError('is not a number from 1 on')
    return Number(text)
  }

  program
    .command('status')
    .description('show the 21 steps: 0 ready, 1 failed, 2 still starting')
    .option('--watch', 'follow the start live', false)
    .option('--wait', 'return when the machine is ready (0) or has failed (1)', false)
    .option('--timeout <seconds>', 'with --wait: give up after this time (2)', seconds)
    .option('--json', 'print the document of GET /status', false)
    .addHelpText('after', STATUS_HELP)
    .action(async (options: { watch: boolean; wait: boolean; json: boolean; timeout?: number }) => {
      const { statusCommand } = await import('./commands/status.ts')
      const { timeout, ...others } = options
      onExit(await statusCommand({ ...others, ...(timeout === undefined ? {} : { timeoutS: timeout }) }, terminal))
    })
  program
    .command('check')
    .description('validate configuration, host and reachability; change nothing: 0 good, 1 problems, 2 warnings')
    .option('--json', 'print the findings as JSON', false)
    .option('--env-file <file...>', 'read settings from these files too', [])
    .action(async (options: { json: boolean; envFile: string[] }) => {
      const { checkCommand } = await import('./commands/check.ts')
      onExit(await checkCommand({ json: options.json, envFiles: options.envFile }, terminal))
    })
  program
    .command('plan')
    .description('show what would change: 0 nothing, 2 something, 1 error')
    .option('--json', 'print the plan as JSON', false)
    .option('--env-file <file...>', 'read settings from these files too', [])
    .action(async (options: { json: boolean; envFile: string[] }) => {
      const { planCommand } = await import('./commands/plan.ts')
      onExit(await planCommand({ json: options.json, envFiles: options.envFile }, terminal))
    })
  program
    .command('render')
    .description('print the units, or write them to a directory')
    .option('--out <directory>', 'write the unit files there')
    .option('--env-file <file...>', 'read settings from these files too', [])
    .action(async (options: { out?: string; envFile: string[] }) => {
      const { renderCommand } = await import('./commands/plan.ts')
      onExit(
        await renderCommand(
          { envFiles: options.envFile, ...(options.out === undefined ? {} : { out: options.out }) },
          terminal,
        ),
      )
    })
  program
    .command('update')
    .description(
      'build what the configuration asks for now, and move the machine to it: 0 done or nothing new, 1 failed',
    )
    .option('--locked <file>', 'install exactly this machine.lock.json')
    .option('--no-wait', 'return when it has begun (0)')
    .option('--json', 'print the outcome as JSON', false)
    .addHelpText('after', UPDATE_HELP)
    .action(async (options: UpdateOptions) => {
      const { updateCommand } = await import('./commands/update.ts')
      onExit(await updateCommand(options, terminal))
    })
  program
    .command('rollback')
    .description('move the machine to a generation that it was on before: 0 done or planned, 1 failed')
    .argument('[generation]', 'its id or the first characters of it; without one, the generation before')
    .option('--no-wait', 'return when it has begun (0)')
    .option('--json', 'print the outcome as JSON', false)
    .addHelpText('after', ROLLBACK_HELP)
    .action(async (generation: string | undefined, options: Omit<RollbackOptions, 'generation'>) => {
      const { rollbackCommand } = await import('./commands/rollback.ts')
      onExit(await rollbackCommand({ ...options, ...(generation === undefined ? {} : { generation }) }, terminal))
    })
  program
    .command('generations')
    .description('list the generations of this machine and where they run')
    .option('--json', 'print them as JSON', false)
    .action(async (options: { json: boolean }) => {
      const { generationsCommand } = await import('./commands/generations.ts')
      onExit(await generationsCommand(options, terminal))
    })
  program
    .command('lock')
    .description('print the machine.lock.json of a generation, which MACHINE_LOCK makes other hosts equal to')
    .argument('[generation]', 'its id; without one, the generation that the machine is on')
    .option('--out <file>', 'write it there')
    .action(async (generation: string | undefined, options: { out?: string }) => {
      const { lockCommand } = await import('./commands/lock.ts')
      onExit(await lockCommand({ ...options, ...(generation === undefined ? {} : { generation }) }, terminal))
    })
  addModelsCommands(program, terminal, onExit)
  program
    .command('explain')
    .description('explain an error code: cause, what to do, how to look closer')
    .argument('[code]', 'e.g. CM1804; without one, all codes are listed')
    .option('--last', 'explain what fails now', false)
    .option('--json', 'print the explanation as JSON', false)
    .action(async (code: string | undefined, options: { last: boolean; json: boolean }) => {
      const { explainCommand } = await import('./commands/explain.ts')
      onExit(await explainCommand({ ...options, ...(code === undefined ? {} : { code }) }, terminal))
    })
  program
    .command('trace')
    .description('draw the waterfall of a startup from the local record: 0 good, 1 the startup failed')
    .argument('[trace-id]', 'its trace id or the first digits of it; without one, the newest startup')
    .option('--last <n>', 'the n-th newest startup', ordinal)
    .option('--list', 'list the startups on record', false)
    .option('--json', 'print the spans, or with --list the startups, as JSON', false)
    .option('--svg', 'print an SVG image', false)
    .action(async (traceId: string | undefined, options: Omit<TraceOptions, 'traceId'>) => {
      const { traceCommand } = await import('./commands/trace.ts')
      onExit(await traceCommand({ ...options, ...(traceId === undefined ? {} : { traceId }) }, terminal))
    })
  program
    .command('report')
    .description('write a support bundle without secrets')
    .option('--out <file>', 'name of the .tar.gz file')
    .action(async (options: { out?: string }) => {
      const { reportCommand } = await import('./commands/report.ts')
      onExit(await reportCommand(options, terminal))
    })
  program
    .command('submit')
    .description('put a workflow on a queue, and wait for its images')
    .argument('<workflow>', 'file of a workflow in API format')
    .option('--queue <name>', 'queue of the workers', 'comfyui')
    .option('--redis <url>', 'default: HUB_REDIS_URL of the environment or the configuration')
    .option('--wait', 'wait for the end of the job, show its progress', false)
    .option('--out <directory>', 'with --wait: save the images there')
    .option('--timeout <seconds>', 'with --wait: give up after this time', seconds)
    .action(async (workflow: string, options: SubmitOptions) => {
      onExit(await submit(workflow, options, (line) => terminal.write(`${line}\n`)))
    })
  return program
}

interface SubmitOptions {
  queue: string
  redis?: string
  wait: boolean
  out?: string
  timeout?: number
}

async function submit(workflowFile: string, options: SubmitOptions, print: (text: string) => void): Promise<number> {
  const { submitCommand } = await import('./commands/submit.ts')
  const { readHubUrl } = await import('./commands/read-hub-url.ts')
  return submitCommand({
    redisUrl: options.redis ?? (await readHubUrl()),
    queue: options.queue,
    workflowFile,
    wait: options.wait,
    print,
    ...(options.out === undefined ? {} : { out: options.out }),
    ...(options.timeout === undefined ? {} : { timeoutMs: options.timeout * 1000 }),
  })
}
