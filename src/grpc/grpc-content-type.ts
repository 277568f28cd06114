/** `application/grpc` and its codecs (`+proto`); not `application/grpc-web`, which is another protocol. */
export function isGrpc(contentType: string | string[] | undefined): boolean {
  return contentType === 'application/grpc' || /^application\/grpc(?:$|[+;\s])/i.test(String(contentType))
}
