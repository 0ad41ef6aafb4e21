// The least a service can be: answers HTTP on the port it is given.
require('node:http')
  .createServer((_request, response) => response.end('ok'))
  .listen(Number(process.argv[2]), '127.0.0.1')
