<?php
/** Tell whether the request is from us, unchanged, and not older than five minutes. $body is file_get_contents('php://input'). */
function is_genuine(string $secret, array $headers, string $body): bool
{
    $id = $headers['webhook-id'];
    $timestamp = $headers['webhook-timestamp'];
    if (!ctype_digit($timestamp) || abs(time() - (int) $timestamp) > 300) {
        return false;
    }
    $key = base64_decode(preg_replace('/^whsec_/', '', $secret));
    $expected = 'v1,' . base64_encode(hash_hmac('sha256', "$id.$timestamp.$body", $key, true));
    foreach (explode(' ', $headers['webhook-signature']) as $signature) { // several while the secret is being changed
        if (hash_equals($expected, $signature)) {
            return true;
        }
    }
    return false;
}
