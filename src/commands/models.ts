import type { Command } from 'commander'
import type { Terminal } from '../host/ports.ts'

const LIST_HELP = `
States: in place (the file is as it was verified), unverified (there, and not read since it changed), in the store only,
partial (a part of it has arrived), missing. pinned: its source declares no sha256 and is held to what it served first.
WANTED BY: machine (what it wants now), update (one that is under way), and the generations by the begin of their ids.`

const VERIFY_HELP = `
Each file is read once, however many names it has. What is in the store is held to the sha256 that it is named by.
--repair puts what is damaged aside (models/.store/damaged, until the next gc) and brings what the machine wants of it anew.
Exit codes: 0 as verified, or mended; 1 damaged (CM1812).`

const GC_HELP = `
Kept is what any generation, the machine or an update under way wants, and every file that people put there.
What ComfyUI has open it goes on reading. Exit codes: 0 done, or with --plan nothing to remove; 2 with --plan: something.`

const PULL_HELP = `
Wanted is what the last start or update asked for, also what is loaded only after the start, or what --lock says.
Ctrl-C stops it; what has arrived is kept, and the next pull or start goes on with it.`

const EXPORT_HELP = `
DIR gets blobs/sha256/<sha256> and index.json, on the volume of the models without taking space twice. It can be a mirror for
MODEL_SOURCES as it is. A second export to the same DIR goes on with it, or adds to it.`

const IMPORT_HELP = `
No network is used. A content with a wrong sha256 is named and nothing of it stays; the others are taken (exit code 1).
Every file and folder of DIR must be readable for everybody.`

/** Adds `comfy-machine models` with its commands; `onExit` takes the exit code of the one that is run. */
export function addModelsCommands(program: Command, terminal: Terminal, onExit: (code: number) => void): void {
  const models = program.command('models').description('list, verify, collect, pull, export and import models')
  models
    .command('list')
    .description('list the models: size, sha256, state, who wants them, and what they take on the disk')
    .argument('[name...]', 'names, paths or first digits of sha256; without one, all')
    .option('--json', 'print them as JSON', false)
    .addHelpText('after', LIST_HELP)
    .action(async (names: string[], { json }: { json: boolean }) => {
      const { modelsListCommand } = await import('./models-list.ts')
      onExit(await modelsListCommand({ names, json }, terminal))
    })
  models
    .command('verify')
    .description('read every model again and compare it with its sha256: 0 as verified, 1 damaged')
    .argument('[name...]', 'names, paths or first digits of sha256; without one, all')
    .option('--repair', 'bring anew what is damaged', false)
    .option('--json', 'print the result as JSON', false)
    .addHelpText('after', VERIFY_HELP)
    .action(async (names: string[], options: { repair: boolean; json: boolean }) => {
      const { modelsVerifyCommand } = await import('./models-verify.ts')
      onExit(await modelsVerifyCommand({ names, ...options }, terminal))
    })
  models
    .command('gc')
    .description('remove models, contents and unfinished downloads that nothing wants')
    .option('--plan', 'only show what would be removed: 0 nothing, 2 something', false)
    .option('--json', 'print it as JSON', false)
    .addHelpText('after', GC_HELP)
    .action(async (options: { plan: boolean; json: boolean }) => {
      const { modelsGcCommand } = await import('./models-gc.ts')
      onExit(await modelsGcCommand(options, terminal))
    })
  models
    .command('pull')
    .description('bring the models that the machine or a lock wants now')
    .argument('[name...]', 'names, paths or first digits of sha256; without one, all')
    .option('--lock <file>', 'bring what this machine.lock.json names')
    .option('--accept <name...>', 'models without a declared sha256: take what the source has now', [])
    .addHelpText('after', PULL_HELP)
    .action(async (names: string[], options: { lock?: string; accept: string[] }) => {
      const { modelsPullCommand } = await import('./models-pull.ts')
      onExit(await modelsPullCommand({ names, ...options }, terminal))
    })
  models
    .command('export')
    .description('write models with their hashes to a directory that other hosts import or download from')
    .argument('<dir>', 'the directory; it is made where it is missing')
    .argument('[name...]', 'names, paths or first digits of sha256; without one, all')
    .addHelpText('after', EXPORT_HELP)
    .action(async (directory: string, names: string[]) => {
      const { modelsExportCommand } = await import('./models-export.ts')
      onExit(await modelsExportCommand({ directory, names }, terminal))
    })
  models
    .command('import')
    .description('take the models of an exported directory into the store, each sha256 checked')
    .argument('<dir>', 'the directory')
    .addHelpText('after', IMPORT_HELP)
    .action(async (directory: string) => {
      const { modelsImportCommand } = await import('./models-import.ts')
      onExit(await modelsImportCommand(directory, terminal))
    })
}
