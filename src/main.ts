import { VERSION } from './version.ts'

// What scripts and units run most is answered without the command line parser: its loading would be felt at every start.
const [, , name, argument] = process.argv
if (name === '--version' || name === '-V') process.stdout.write(`${VERSION}\n`)
else {
  const unitExit = name === undefined ? undefined : await (await import('./unit-cli.ts')).runUnitCommand(name, argument)
  process.exitCode = unitExit ?? (await (await import('./cli.ts')).runCli(process.argv))
}
