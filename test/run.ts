import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { missingRequirement } from './host/requirements.ts'

interface Report {
  numPassedTests: number
  numFailedTests: number
  numPendingTests: number
  numTodoTests: number
  numFailedTestSuites: number
  testResults: { status: string; assertionResults: unknown[] }[]
}

const root = path.resolve(import.meta.dirname, '..')

/** Runs a program of node_modules/.bin or PATH with its output shown; tells whether it succeeded. */
function succeeds(file: string, args: readonly string[]): boolean {
  return spawnSync(file, args, { cwd: root, stdio: 'inherit' }).status === 0
}

/** Runs every check and every test and returns the exit code; the last line says `N passed, N failed`. */
function runAll(): number {
  const missing = missingRequirement()
  if (missing !== null) {
    process.stderr.write(`${missing}\n`)
    return 1
  }
  const checked = succeeds('npm', ['run', '--silent', 'check'])
  const folder = mkdtempSync(path.join(tmpdir(), 'comfy-machine-test-'))
  try {
    const file = path.join(folder, 'report.json')
    const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${file}`]
    const passed = succeeds(path.join(root, 'node_modules/.bin/vitest'), ['run', ...reporters])
    if (!existsSync(file)) {
      process.stdout.write('vitest ended before the first test\n0 passed, 1 failed\n')
      return 1
    }
    return summary(JSON.parse(readFileSync(file, 'utf8')) as Report, checked, passed)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

function summary(report: Report, checked: boolean, vitestPassed: boolean): number {
  // A file that failed before its first test counts as one failure; so does `npm run check`.
  const brokenFiles = report.testResults.filter(
    (file) => file.status === 'failed' && file.assertionResults.length === 0,
  ).length
  const skipped = report.numPendingTests + report.numTodoTests
  let failed = report.numFailedTests + brokenFiles + (checked ? 0 : 1)
  if (!checked) process.stdout.write('npm run check failed; it counts as one failure\n')
  if (skipped > 0) {
    process.stdout.write(`${skipped} tests were skipped, and a skipped test counts as failed\n`)
    failed += skipped
  }
  if (failed === 0 && !vitestPassed) {
    process.stdout.write('vitest ended with an error outside of the tests; it counts as one failure\n')
    failed = 1
  }
  process.stdout.write(`${report.numPassedTests} passed, ${failed} failed\n`)
  return failed === 0 ? 0 : 1
}

process.exitCode = runAll()
