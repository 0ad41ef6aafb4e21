/** Aborts when systemd asks this process to stop (SIGTERM) or a person does (SIGINT). */
export function stopSignal(): AbortSignal {
  const stop = new AbortController()
  for (const name of ['SIGTERM', 'SIGINT'] as const) process.once(name, () => stop.abort(name))
  return stop.signal
}

/** Aborts at the second SIGTERM or SIGINT of this process; from now on neither ends the process by itself. */
export function secondStopSignal(): AbortSignal {
  const second = new AbortController()
  let count = 0
  for (const name of ['SIGTERM', 'SIGINT'] as const) {
    process.on(name, () => {
      count += 1
      if (count === 2) second.abort(name)
    })
  }
  return second.signal
}
